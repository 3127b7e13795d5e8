"""Peak memory of the model: no path stores the logits of all tokens or planes of all classes.

An image of 384x384 has 9216 tokens of 8192 codes, and a maskige of 768x768 pixels in 194 classes. Each path is measured
in a process of its own, as the growth of its resident memory.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kernels.memory import available

MIB = 2**20
# Measured 26, 88 and 113 MiB, most of it activations of the small networks. The logits of all tokens would add 288 MiB,
# class planes 437 MiB at the maskige's size and 109 MiB at the image's, as much again for their gradients in training.
LIMITS = {"predict": 64 * MIB, "prior": 160 * MIB, "inverse": 160 * MIB}


@pytest.mark.skipif(not available(), reason="resident memory is measured through Linux's /proc")
@pytest.mark.parametrize("path", list(LIMITS))
def test_extra_memory(path: str) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.gss.model.memory_probe", path]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    extra = json.loads(answer.stdout)["bytes"]
    print(f"{path}: {extra / MIB:.0f} MiB")
    assert extra < LIMITS[path]
