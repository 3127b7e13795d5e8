"""Every operation, dtype and precision on random and hostile inputs, against the reference and float64 on one device.

The checks are in the modules `correctness_*`; this one lists them. `--only WORDS` runs those whose id contains WORDS:
inputs depend on the id alone, so a failure repeats.
"""

from __future__ import annotations

from benchmarks.gpu import correctness_codebook, correctness_far, correctness_loss, correctness_maskige
from benchmarks.gpu.checks import Check
from benchmarks.gpu.place import Place


def checks(place: Place) -> list[Check]:
    parts = (correctness_maskige, correctness_codebook, correctness_loss, correctness_far)
    return [check for part in parts for check in part.checks(place)]
