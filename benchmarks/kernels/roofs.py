"""What this machine can do at best: the roofs every percentage refers to.

Copy bandwidth counts the bytes read and the bytes written once each, for tensors eight times the last cache. The
matrix rates are those of one large square torch.mm, 2 n^3 operations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.kernels import threads as pools

COPY_BYTES = 256 * 2**20
SIDE = 2048


def measure(threads: int, seconds: float = 1.0) -> dict[str, float]:
    """Roofs at this number of threads, in GB/s and GFLOP/s; medians."""
    pools.use(threads)
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    roofs = {"copy_gb_per_s": 2 * COPY_BYTES / _median(lambda: target.copy_(source), seconds) / 1e9}
    read, written = source.numpy(), target.numpy()
    roofs["memcpy_gb_per_s"] = 2 * COPY_BYTES / _median(lambda: np.copyto(written, read), seconds) / 1e9
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.rand(SIDE, SIDE).to(dtype), torch.rand(SIDE, SIDE).to(dtype)
        out = torch.empty(SIDE, SIDE, dtype=dtype)
        rate = 2 * SIDE**3 / _median(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), seconds) / 1e9
        roofs[f"mm_{str(dtype).removeprefix('torch.')}_gflop_per_s"] = rate
    return roofs


def highest(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Of two measurements of a machine that other work may have slowed, the stricter roof each."""
    return {name: max(first[name], second[name]) for name in first}


def _median(call: Callable[[], object], seconds: float) -> float:
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
