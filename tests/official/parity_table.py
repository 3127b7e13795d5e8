"""docs/parity.md from the comparisons of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable

from benchmarks.kernels import machine
from gss.io.files import write_bytes
from tests.official.compare import Row

INTRODUCTION = """\
# Parity with the official code

    GSS_OFFICIAL_FIXTURES=DIR GSS_PARITY_TABLE=docs/parity.md python -m pytest tests/official

writes this page. DIR holds outputs of the official code (github fudan-zvg/GSS, commit b9909a4) on a CPU in float32 with
small random weights; the tests convert those weights as `gss convert` does and compare. Some of the recordings are in
[tests/official/recorded](../tests/official/recorded/README.md), and `make test` compares with those. The released
weights and the data sets were not available: nothing here is a score on a benchmark.

`a + r x` allows a difference of a + r times the recorded value. The official code itself moves by up to 1.2e-5 with
other kernels, and by 3.5e-4 where colours go from 0 to 255 (rec_segmap, rgb255). A family of tensors, such as all
gradients of a training step, is one line with the largest difference of them all. train_eval and train_train are
training steps with the module in evaluation and in training mode. "clear" are the pixels whose colour or scores are
farther from a change of class than the tolerance of what they follow from; the decoded recorded colours are compared
everywhere.
"""
HEADER = "| recording | quantity | values | largest difference | allowed |\n|---|---|---:|---:|---|"


def write(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """The page, with the rows by recording and then in the order in which they were compared."""
    lines = [line(row) for row in sorted(rows, key=lambda row: row.recording)]
    write_bytes(path, "\n".join([INTRODUCTION, where(), "", HEADER, *lines, ""]).encode())


def line(row: Row) -> str:
    largest = "0" if row.largest == 0 else f"{row.largest:.1e}"
    return f"| {row.recording} | {row.quantity} | {row.values} | {largest} | {row.tolerance} |"


def where() -> str:
    """Date, kind of machine and versions."""
    found = machine.describe(("torch", "transformers", "numpy"))
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    kernels = found["gsskernels"]
    return (
        f"{found['date']}, {found['cpu']} (family/model {found['cpu_family_model']}), torch's kernels for "
        f"{found['torch_capability']}, gsskernels {kernels['version']} with {(kernels['isas'] or ['reference'])[-1]}; "
        f"Python {found['python']}, {packages}."
    )
