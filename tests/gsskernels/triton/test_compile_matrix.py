"""Kernels compiled ahead of time for other GPUs: a part of those that `make check-triton` compiles.

Compiling happens in a process of its own, because here Triton interprets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.static.checks import MATRIX, faults

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The run that compares with the checked-in table, and the rows that it measured."""
    rows = tmp_path_factory.mktemp("static") / "rows.json"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.static", "--quick", "--rows", str(rows)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert rows.exists(), done.stderr
    return done, json.loads(rows.read_text())


def test_no_kernel_is_at_fault(compiled: tuple[Any, dict[str, Any]]) -> None:
    assert faults(compiled[1]) == []


def test_as_in_the_checked_in_table(compiled: tuple[subprocess.CompletedProcess[str], Any]) -> None:
    assert compiled[0].returncode == 0, compiled[0].stdout


def test_every_architecture_and_matrix_kernel_was_compiled(compiled: tuple[Any, dict[str, Any]]) -> None:
    found = {(row["kernel"], row["sm"]) for row in compiled[1].values()}
    assert {(kernel, sm) for kernel in MATRIX for sm in (80, 90, 100)} <= found
