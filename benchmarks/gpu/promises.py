"""What the library promises on an H200, each promise beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.cases import PROMISED
from benchmarks.kernels.providers import TRITON

Row = dict[str, Any]
Verdict = dict[str, Any]  # id, promise, measured, kept: True, False, or None where it was not measured

MOST_SECONDS = {
    "decode/k19/uint8": 8.5e-6,
    "decode/k19/float32": 8.5e-6,
    "decode/k150/uint8": 15e-6,
    "decode/k150/float32": 15e-6,
    "evaluate/k19/float32": 12e-6,
    "evaluate/k150/float32": 20e-6,
    "nearest_code/bfloat16": 0.49e-3,
    "nearest_code/float32": 0.70e-3,
    "linear_argmax/bfloat16": 3.4e-3,
    "linear_cross_entropy/bfloat16": 10.3e-3,
}
MOST_EXTRA_BYTES = {"linear_argmax/bfloat16": 20_000_000, "linear_cross_entropy/bfloat16": 70_000_000}
AHEAD_OF = {
    "nearest_code/bfloat16": ["flash-kmeans assign"],
    "linear_cross_entropy/bfloat16": ["Liger-Kernel", "cut-cross-entropy"],
}
LEAST_PERCENT = {"encode/16mpx/float32": 90}


def verdicts(rows: list[Row]) -> list[Verdict]:
    return [verdict for name in PROMISED for verdict in _of(name, rows)]


def _of(name: str, rows: list[Row]) -> Iterator[Verdict]:
    case = PROMISED[name]
    what = f"{case.op} {case.label}"
    found = {r["provider"]: r for r in rows if (r["op"], r["case"], r["study"]) == (case.op, case.label, "table")}
    ours = found.get(TRITON)
    if name in MOST_SECONDS:
        most = MOST_SECONDS[name]
        measured = ours["median_s"] if ours else None
        yield _verdict(name, f"{what}: <= {_time(most)}", measured and _time(measured), measured and measured <= most)
    if name in LEAST_PERCENT:
        percent = ours["percent_of_roof"] if ours else None
        text = f"{what}: >= {LEAST_PERCENT[name]} % of copy bandwidth"
        yield _verdict(name, text, percent and f"{percent:.0f} %", percent and percent >= LEAST_PERCENT[name])
    if name in MOST_EXTRA_BYTES:
        extra = ours["extra_peak_bytes"] if ours else None
        text = f"{what}: < {MOST_EXTRA_BYTES[name] / 1e6:.0f} MB extra"
        kept = None if extra is None else extra <= MOST_EXTRA_BYTES[name]
        yield _verdict(name, text, None if extra is None else f"{extra / 1e6:.1f} MB", kept)
    for other in AHEAD_OF.get(name, []):
        both = ours and found.get(other)
        ratio = found[other]["median_s"] / ours["median_s"] if ours and both else None
        yield _verdict(name, f"{what}: ahead of {other}", ratio and f"{ratio:.2f}x", ratio and ratio > 1)


def _verdict(name: str, promise: str, measured: str | None, kept: bool | None) -> Verdict:
    return {"id": name, "promise": promise, "measured": measured, "kept": kept if measured else None}


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"
