"""The limits of the machine: copy bandwidth and matrix rates, measured in the run that quotes them.

Copy bandwidth counts the bytes read and the bytes written, for tensors far beyond the last cache. It is the best of
`copy_`, `torch.mul(out=)`, on a GPU a Triton copy, and on a CPU numpy's copy: no single one is the fastest everywhere.
Matrix rates are those of one large square torch.mm on random data (zeros run faster on a GPU), 2 n^3 operations; a
smaller one where the processor has no instructions for the dtype and a large one would take a minute.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.kernels import machine
from benchmarks.kernels.timing import DeviceClock, HostClock

COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
SIDE = {"cpu": 2048, "cuda": 8192}


def measure(clock: HostClock | DeviceClock, device: str, threads: int, seconds: float = 0.5) -> dict[str, float]:
    """Roofs in GB/s and GFLOP/s, by the names that `results.row` reads.

    On a GPU float32 is multiplied as TF32, PyTorch's fastest way; `mm_float32_ieee_gflop_per_s` is without that. A
    node of a CUDA graph that does almost nothing (`graph_node_us`) is the least time of any kernel.
    """
    if device == "cpu":
        machine.use_threads(threads)
    size, side = COPY_BYTES[device], SIDE[device]
    copies = {name: _median(clock, call, seconds) for name, call in _copies(device, size).items()}
    roofs = {"copy_gb_per_s": 2 * size / min(copies.values()) / 1e9}
    roofs |= {f"copy_{name}_gb_per_s": 2 * size / median / 1e9 for name, median in copies.items()}
    rates = {"float32": (torch.float32, side), "bfloat16": (torch.bfloat16, side)}
    if device == "cuda":
        rates |= {"float16": (torch.float16, side), "float32_ieee": (torch.float32, side // 2)}
    for name, (dtype, n) in rates.items():
        roofs[f"mm_{name}_gflop_per_s"] = _product(clock, device, n, dtype, name == "float32", seconds)
    if device == "cuda":
        small: Any = torch.zeros(32, device=device)
        roofs["graph_node_us"] = 1e6 * _median(clock, lambda: small.add_(1), seconds)
    return roofs


def _copies(device: str, size: int) -> dict[str, Callable[[], Any]]:
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    calls: dict[str, Callable[[], Any]] = {
        "copy": lambda: target.copy_(source),
        "mul": lambda: torch.mul(source, 1.0, out=target),
    }
    if device == "cpu":
        read, written = source.numpy(), target.numpy()
        return calls | {"numpy": lambda: np.copyto(written, read)}
    try:
        from benchmarks.kernels.triton_copy import copy
    except ImportError:
        return calls
    return calls | {"triton": lambda: copy(source, target)}


def _product(
    clock: HostClock | DeviceClock, device: str, n: int, dtype: torch.dtype, tf32: bool, seconds: float
) -> float:
    if device == "cpu" and dtype != torch.float32 and _too_slow(dtype):
        n //= 4
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 and device == "cuda" else "highest")
    try:
        return 2 * n**3 / _median(clock, lambda: torch.mm(a, b, out=out), seconds) / 1e9
    finally:
        torch.set_float32_matmul_precision(before)


def _too_slow(dtype: torch.dtype, side: int = 256, most: float = 0.01) -> bool:
    """Whether a small product, which a fast unit computes in less than a millisecond, takes longer than `most`."""
    a, times = torch.randn(side, side).to(dtype), []
    for _ in range(3):
        start = time.perf_counter()
        torch.mm(a, a)
        times.append(time.perf_counter() - start)
    return min(times) > most


def _median(clock: HostClock | DeviceClock, call: Callable[[], Any], seconds: float) -> float:
    timed = clock.prepare([call])
    clock.measure([timed], seconds)
    return statistics.median(timed.times)
