"""What the library promises on a CPU with AVX-512, each promise beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
NATIVE = "gsskernels native"


@dataclass(frozen=True)
class Promise:
    text: str
    measured: str
    kept: bool


class Case:
    """The rows of one case by provider."""

    def __init__(self, rows: list[Row], op: str, label: str) -> None:
        found = [r for r in rows if r["op"] == op and r["case"] == label and r["study"] == "table"]
        self.by_provider = {r["provider"]: r for r in found}

    def __bool__(self) -> bool:
        return NATIVE in self.by_provider

    def ratio(self, provider: str) -> float:
        """How many times longer a provider takes than the native backend; the best of those whose name starts so."""
        times = [r["median_s"] for name, r in self.by_provider.items() if name.startswith(provider)]
        return min(times) / self.by_provider[NATIVE]["median_s"]

    @property
    def ours(self) -> Row:
        return self.by_provider[NATIVE]


def promises(rows: list[Row]) -> Iterator[Promise]:
    """Every promise whose cases are among the rows."""
    if large := Case(rows, "maskige_decode", "1024x2048, K = 19, float32"):
        times = 100 / large.ours["percent_of_roof"]
        yield Promise(
            "decode 1024x2048, K = 19: <= 2.5x the time of its bytes", f"{times:.2f}x of the copy rate", times <= 2.5
        )
        yield at_least("decode 1024x2048, K = 19", large, "torch.compile", 5)
        yield at_least("decode 1024x2048, K = 19", large, "official formula", 250)
        extra = large.ours["extra_peak_bytes"]
        if extra is not None:
            yield Promise("decode 1024x2048, K = 19: no extra memory", f"{extra / 1024:.0f} KiB", extra < 2**20)
    if small := Case(rows, "maskige_decode", "512x512, K = 150, float32"):
        yield at_least("decode 512x512, K = 150", small, "torch.compile", 8)
    few, many = (Case(rows, "maskige_decode", f"512x512, K = {k}, float32") for k in (19, 194))
    if few and many:
        ratio = many.ours["median_s"] / few.ours["median_s"]
        yield Promise("decode 512x512: K = 194 within 2x of K = 19", f"{ratio:.2f}x", ratio <= 2)
    if encode := Case(rows, "maskige_encode", "1024x2048, K = 19, to float32"):
        percent = encode.ours["percent_of_roof"]
        yield Promise("encode 1024x2048: >= 80 % of copy bandwidth", f"{percent:.0f} %", percent >= 80)
    if code := Case(rows, "nearest_code", "4096 x 8192 x 256, float32"):
        yield at_least("nearest_code 4096 x 8192 x 256", code, "torch.mm alone", 1)
        yield at_least("nearest_code 4096 x 8192 x 256", code, "faiss", 1.5)
        extra = code.ours["extra_peak_bytes"]
        if extra is not None:
            yield Promise("nearest_code 4096 x 8192 x 256: < 64 MB extra", f"{extra / 1e6:.1f} MB", extra < 64_000_000)
    for op in ("linear_argmax", "linear_cross_entropy"):
        for label in dict.fromkeys(r["case"] for r in rows if r["op"] == op and r["study"] == "table"):
            if case := Case(rows, op, label):
                yield at_least(f"{op} {label}", case, "official formula", 1)


def at_least(what: str, case: Case, provider: str, times: float) -> Promise:
    ratio = case.ratio(provider)
    promised = f">= {times:g}x as fast as" if times > 1 else "never slower than"
    return Promise(f"{what}: {promised} {provider}", f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x", ratio >= times)
