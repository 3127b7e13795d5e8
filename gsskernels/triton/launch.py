"""Starts every kernel of the backend, on the device of its tensors and with planned meta-parameters.

Launches can be recorded. Under `record(architecture)` the functions of the backend run on tensors of the meta device
and no kernel is started. The recorded launches, with their planned configurations, can then be compiled ahead of time
for a GPU that is not present.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton

from gsskernels.triton.plan import SM_90, Architecture

INTERPRETED = bool(triton.knobs.runtime.interpret)  # kernels decorated from here on run as Python, on CPU tensors
stand_in = SM_90  # the architecture to plan for when kernels are interpreted

Grid = tuple[int, ...]


@dataclass(frozen=True)
class Launch:
    """A recorded launch: the kernel, its grid, its arguments by name, and the options of the compiler."""

    kernel: Any
    grid: Grid
    arguments: dict[str, Any]
    options: dict[str, Any]


_recording: tuple[Architecture, list[Launch]] | None = None


@contextmanager
def record(architecture: Architecture) -> Iterator[list[Launch]]:
    """Collects the launches of the block instead of starting them, planned for `architecture`."""
    global _recording
    before = _recording
    launches: list[Launch] = []
    _recording = architecture, launches
    try:
        yield launches
    finally:
        _recording = before


def architecture(device: torch.device) -> Architecture:
    """The architecture to plan for: the GPU of the tensors, or the recorded one."""
    if _recording is not None:
        return _recording[0]
    return stand_in if device.type != "cuda" else _of_device(device.index)


@cache
def _of_device(index: int) -> Architecture:
    major, minor = torch.cuda.get_device_capability(index)
    found = triton.runtime.driver.active.utils.get_device_properties(index)
    return Architecture(10 * major + minor, found["max_shared_mem"], found["multiprocessor_count"])


def launch(
    kernel: Any, grid: Grid, *arguments: Any, num_warps: int = 4, num_stages: int = 3, exact: bool = False, **meta: Any
) -> None:
    """Starts `kernel` over `grid` on the current stream of the device of its first tensor.

    exact: products and sums are never contracted into fused multiply-adds, so that float32 arithmetic rounds as in
        the reference.
    meta: constexpr parameters of the kernel, by name.
    """
    options: dict[str, Any] = {"num_warps": num_warps, "num_stages": num_stages}
    if exact:
        options["enable_fp_fusion"] = False
    if _recording is not None:
        names = kernel.arg_names
        _recording[1].append(Launch(kernel, grid, {**dict(zip(names, arguments, strict=False)), **meta}, options))
        return
    if 0 in grid:
        return
    device = next(a.device for a in arguments if isinstance(a, torch.Tensor))
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        kernel[grid](*arguments, **meta, **options)
        return
    with torch.cuda.device(device):
        kernel[grid](*arguments, **meta, **options)
