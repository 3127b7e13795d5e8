"""Whether the kernels compile for AMD's CDNA 3 (gfx942): information only, nothing is checked."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence

from triton.backends.compiler import GPUTarget

from benchmarks.static.catalogue import catalogue, recorded
from benchmarks.static.compiler import compiled, reason, source_of
from benchmarks.static.variants import Variant
from gsskernels.triton.plan import Architecture

TARGET = GPUTarget("hip", "gfx942", 64)
# Planned like the Ampere with the least shared memory, within the 64 KiB of a compute unit.
ARCHITECTURE = Architecture(86, 65536, 304)

_todo: Sequence[Variant] = ()


def compiles(processes: int = 2) -> dict[str, str]:
    """By call and kernel: "yes", or "no" and the compiler's reason."""
    global _todo
    _todo = recorded([call for call in catalogue() if call.quick], [ARCHITECTURE])
    with multiprocessing.get_context("fork").Pool(processes, _quiet) as pool:
        answers = pool.map(_compile_one, range(len(_todo)), chunksize=1)
    return dict(sorted((f"{v.call}: {v.name}", answer) for v, answer in zip(_todo, answers, strict=True)))


def _quiet() -> None:
    """Silences passes that fail, which print the whole module; the reason is in the answer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _compile_one(number: int) -> str:
    variant = _todo[number]
    found = compiled(variant, source_of(variant), TARGET)
    if isinstance(found, Exception):
        return f"no: {reason(found)}"
    if found.metadata.shared > ARCHITECTURE.shared_memory:
        return f"no: {found.metadata.shared} bytes of shared memory"
    return "yes"
