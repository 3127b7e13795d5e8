"""What this GPU does at best, measured in the run that quotes it.

Copy bandwidth counts bytes read and bytes written, of tensors far beyond the L2. Matrix rates are those of a large
square torch.mm on random data (zeros run faster). A graph's node that does next to nothing is the least any kernel
costs in these measurements.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.place import Place
from benchmarks.gpu.timing import alone

COPY_BYTES = 2**31
SIDE = 8192


def measure(place: Place) -> dict[str, float]:
    """Roofs by the names `benchmarks.kernels.results` reads. float32 is multiplied as TF32, the fastest way PyTorch
    has for it; `mm_float32_ieee_gflop_per_s` is without that."""
    size, side = (2**16, 32) if place.dry else (COPY_BYTES, SIDE)
    found = {"copy_gb_per_s": 2 * size / _copy(place, size) / 1e9}
    for name, dtype, tf32 in (
        ("bfloat16", torch.bfloat16, False),
        ("float16", torch.float16, False),
        ("float32", torch.float32, True),
        ("float32_ieee", torch.float32, False),
    ):
        n = side // 2 if name == "float32_ieee" else side
        found[f"mm_{name}_gflop_per_s"] = 2 * n**3 / _product(place, n, dtype, tf32) / 1e9
    small: Any = torch.zeros(32, device=place.device)
    found["graph_node_us"] = alone(place, lambda: small.add_(1)) * 1e6
    return found


def _copy(place: Place, size: int) -> float:
    source = torch.ones(size, dtype=torch.uint8, device=place.device)
    target = torch.empty_like(source)
    return alone(place, lambda: target.copy_(source))


def _product(place: Place, n: int, dtype: torch.dtype, tf32: bool) -> float:
    a, b = (torch.randn(n, n, generator=place.generator(i), device=place.device).to(dtype) for i in range(2))
    out = torch.empty_like(a)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        return alone(place, lambda: torch.mm(a, b, out=out))
    finally:
        torch.set_float32_matmul_precision(before)
