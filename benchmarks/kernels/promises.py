"""The promised times and memory, each beside what was measured: on a CPU with AVX-512, and on an H200."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.kernels.providers import COMPILED, MATRIX_PRODUCT, OFFICIAL, OURS

Row = dict[str, Any]


@dataclass(frozen=True)
class Promise:
    """A bound on our row of a case of the study "table".

    `of` names the bound quantity: "seconds", "extra bytes", "% of roof" (at least `bound`), or another provider, which
    has to take at least `bound` times as long.
    """

    op: str
    case: str
    of: str
    bound: float


CITYSCAPES, ADE20K = (f"K = {k}, float32" for k in (19, 150))
CPU = (
    Promise("maskige_decode", f"1024x2048, {CITYSCAPES}", "% of roof", 40),
    Promise("maskige_decode", f"1024x2048, {CITYSCAPES}", COMPILED, 5),
    Promise("maskige_decode", f"1024x2048, {CITYSCAPES}", OFFICIAL, 250),
    Promise("maskige_decode", f"1024x2048, {CITYSCAPES}", "extra bytes", 2**20),
    Promise("maskige_decode", f"512x512, {ADE20K}", COMPILED, 8),
    Promise("maskige_encode", "1024x2048, K = 19, to float32", "% of roof", 80),
    Promise("nearest_code", "4096 x 8192 x 256, float32", MATRIX_PRODUCT, 1),
    Promise("nearest_code", "4096 x 8192 x 256, float32", "faiss", 1.5),
    Promise("nearest_code", "4096 x 8192 x 256, float32", "extra bytes", 64e6),
    Promise("linear_argmax", "1024 x 8192 x 2048, float32", OFFICIAL, 1),
    Promise("linear_argmax", "4096 x 512 x 192, float32", OFFICIAL, 1),
    Promise("linear_argmax", "1024 x 8192 x 2048, bfloat16", OFFICIAL, 1),
    Promise("linear_cross_entropy", "1024 x 8192 x 512, float32, forward", OFFICIAL, 1),
    Promise("linear_cross_entropy", "1024 x 8192 x 512, float32, forward + backward", OFFICIAL, 1),
    Promise("linear_cross_entropy", "4096 x 512 x 192, float32, forward", OFFICIAL, 1),
    Promise("linear_cross_entropy", "4096 x 512 x 192, float32, forward + backward", OFFICIAL, 1),
)
TOKENS = "73728 x 8192 x"
GPU = (
    Promise("maskige_decode", "1024x2048, K = 19, uint8", "seconds", 8.5e-6),
    Promise("maskige_decode", f"1024x2048, {CITYSCAPES}", "seconds", 8.5e-6),
    Promise("maskige_decode", "1024x2048, K = 150, uint8", "seconds", 15e-6),
    Promise("maskige_decode", f"1024x2048, {ADE20K}", "seconds", 15e-6),
    Promise("nearest_code", f"{TOKENS} 256, bfloat16", "seconds", 0.49e-3),
    Promise("nearest_code", f"{TOKENS} 256, bfloat16", "flash-kmeans assign", 1),
    Promise("nearest_code", f"{TOKENS} 256, float32", "seconds", 0.70e-3),
    Promise("maskige_evaluate", f"256x512 to 1024x2048, {CITYSCAPES}", "seconds", 12e-6),
    Promise("maskige_evaluate", f"256x512 to 1024x2048, {ADE20K}", "seconds", 20e-6),
    Promise("linear_argmax", f"{TOKENS} 2048, bfloat16", "seconds", 3.4e-3),
    Promise("linear_argmax", f"{TOKENS} 2048, bfloat16", "extra bytes", 20e6),
    Promise("linear_cross_entropy", f"{TOKENS} 2048, bfloat16, forward + backward", "seconds", 10.3e-3),
    Promise("linear_cross_entropy", f"{TOKENS} 2048, bfloat16, forward + backward", "extra bytes", 70e6),
    Promise("linear_cross_entropy", f"{TOKENS} 2048, bfloat16, forward + backward", "Liger-Kernel", 1),
    Promise("linear_cross_entropy", f"{TOKENS} 2048, bfloat16, forward + backward", "cut-cross-entropy", 1),
    Promise("maskige_encode", "4096x4096, K = 19, to float32", "% of roof", 90),
)


def verdicts(rows: list[Row], device: str) -> Iterator[tuple[str, str, bool | None]]:
    """(promise, measured, kept) of every promise; kept is None where a row is missing."""
    table = {(r["op"], r["case"], r["provider"]): r for r in rows if r["study"] == "table"}
    for promise in CPU if device == "cpu" else GPU:
        yield _verdict(promise, table, OURS[device])


def _verdict(p: Promise, table: dict[tuple[str, str, str], Row], us: str) -> tuple[str, str, bool | None]:
    ours, what = table.get((p.op, p.case, us)), f"{p.op} {p.case}"
    if p.of in BOUNDS:
        field, promised, shown = BOUNDS[p.of]
        value = ours and ours[field]
        text = f"{what}: {promised(p.bound)}"
        if value is None:
            return text, "not measured", None
        return text, shown(value), value >= p.bound if p.of == "% of roof" else value <= p.bound
    # the best of the other library's ways, such as a formula with different products
    same_case = [(name, r["median_s"]) for (op, case, name), r in table.items() if (op, case) == (p.op, p.case)]
    times = [median for name, median in same_case if name.startswith(p.of)]
    text = f"{what}: " + (f">= {p.bound:g}x as fast as" if p.bound > 1 else "not slower than") + f" {p.of}"
    if ours is None or not times:
        return text, "not measured", None
    ratio = min(times) / ours["median_s"]
    return text, f"{ratio:.4g}x", ratio >= p.bound


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


# Field of a row, the promise in words, and how a value is shown.
BOUNDS: dict[str, tuple[str, Callable[[float], str], Callable[[float], str]]] = {
    "seconds": ("median_s", lambda bound: f"<= {_time(bound)}", _time),
    "% of roof": ("percent_of_roof", lambda bound: f">= {bound:g} % of the roof", lambda value: f"{value:.0f} %"),
    "extra bytes": (
        "extra_peak_bytes",
        lambda bound: f"<= {bound / 1e6:.3g} MB extra",
        lambda value: f"{value / 1e6:.3g} MB",
    ),
}
