"""The cases: an operation at given sizes, with the bytes and FLOPs that an ideal implementation would need.

Cases of the study "table" are the tables of docs/performance.md. The other studies vary one size (`at` is its value) or
the number of threads, or measure the time of a call on almost no data ("overhead").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ITEM_BYTES = {"uint8": 1, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4}
ROWS = 8 * 96 * 96  # tokens of a batch of eight 768x768 crops


@dataclass(frozen=True)
class Case:
    """`threads` is None for all cores; `quick` cases are also part of a quick run."""

    op: str
    label: str
    sizes: dict[str, Any]
    study: str = "table"
    at: int | None = None
    threads: int | None = None
    quick: bool = False

    @property
    def id(self) -> str:
        threads = "" if self.threads is None else f"/{self.threads} threads"
        return f"{self.op}/{self.study}/{self.label}{threads}"

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["sizes"][name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Work:
    """The bytes that must be moved, the FLOPs of the textbook formula, and the `roof` that should limit the case."""

    bytes: int
    flops: int
    roof: str  # "copy" or "mm"
    dtype: str = "float32"  # of the matrix product


def work(case: Case) -> Work:
    s = case.sizes
    pixels = s.get("height", 0) * s.get("width", 0)
    if case.op == "maskige_encode":
        return Work(pixels * (1 + 3 * ITEM_BYTES[s["dtype"]]), 0, "copy")
    if case.op == "maskige_decode":
        label = 1 if s["classes"] <= 255 else 4
        return Work(pixels * (3 * ITEM_BYTES[s["dtype"]] + label), 8 * s["classes"] * pixels, "copy")
    if case.op == "label_resize":
        return Work(pixels + s["out_height"] * s["out_width"], 0, "copy")
    if case.op == "maskige_evaluate":
        image = 3 * ITEM_BYTES[s["dtype"]] * pixels
        return Work(image + s["out_height"] * s["out_width"] + 8 * s["classes"] ** 2, 0, "copy")
    if case.op == "confusion_matrix":
        return Work(2 * pixels + 8 * s["classes"] ** 2, 0, "copy")
    rows, codes, features, item = s["rows"], s["codes"], s["features"], ITEM_BYTES[s["dtype"]]
    if case.op == "code_statistics":
        return Work(rows * (features * item + 8) + codes * (features * 4 + 8), rows * features, "copy")
    product = 2 * rows * codes * features
    operands = (rows + codes) * features * item
    if s.get("backward"):  # one more product for the gradient of x and one for that of the weight
        return Work(2 * operands + rows * 8, 3 * product, "mm", s["dtype"])
    return Work(operands + rows * 8, product, "mm", s["dtype"])


def scores_bytes(case: Case) -> int:
    """float32 bytes of all scores: rows x codes, or classes x pixels."""
    if "rows" in case.sizes:
        return 4 * case.rows * case.codes
    return 4 * case.classes * case.height * case.width


def cases(device: str, quick: bool = False, words: list[str] | None = None, threads: int = 1) -> list[Case]:
    """The cases of a run on "cpu" or "cuda".

    Args:
        quick: only the cases marked so.
        words: keep operations whose name contains one of them; None or empty keeps all.
        threads: cores of the machine, for the study of threads.
    """
    found = [*_gpu(), *_overhead()] if device == "cuda" else [*_cpu(), *_sweeps(), *_threads(threads), *_overhead()]
    return [case for case in found if (case.quick or not quick) and (not words or any(w in case.op for w in words))]


def _cpu() -> Iterator[Case]:
    yield encode(1024, 2048, 19, "float32", quick=True)
    yield encode(1024, 2048, 19, "uint8")
    yield encode(1024, 2048, 19, "bfloat16")
    yield decode(1024, 2048, 19, "float32", quick=True)
    yield decode(1024, 2048, 19, "uint8")
    yield decode(1024, 2048, 19, "bfloat16")
    yield decode(512, 512, 19, "float32")
    yield decode(512, 512, 150, "float32", quick=True)
    yield decode(512, 512, 150, "float32", content="random")
    yield decode(512, 512, 194, "float32")
    yield label_resize(1024, 2048, 512, 1024, 19)
    yield label_resize(128, 128, 512, 512, 150, quick=True)
    yield evaluate(256, 512, 1024, 2048, 19, quick=True)
    yield evaluate(128, 128, 512, 512, 150)
    yield confusion(1024, 2048, 19, quick=True)
    yield confusion(512, 512, 150)
    yield codebook("nearest_code", 4096, 8192, 256)
    yield codebook("nearest_code", 4096, 8192, 256, content="clustered")
    yield codebook("nearest_code", 4096, 8192, 256, dtype="bfloat16")
    yield codebook("nearest_code", 16384, 512, 32, quick=True)
    yield codebook("linear_argmax", 1024, 8192, 2048)
    yield codebook("linear_argmax", 4096, 512, 192, quick=True)
    yield codebook("linear_argmax", 1024, 8192, 2048, dtype="bfloat16")
    yield codebook("linear_sample", 1024, 8192, 512)
    yield codebook("linear_sample", 4096, 512, 192, quick=True)
    yield codebook("linear_cross_entropy", 1024, 8192, 512, backward=False)
    yield codebook("linear_cross_entropy", 1024, 8192, 512, backward=True)
    yield codebook("linear_cross_entropy", 4096, 512, 192, backward=False)
    yield codebook("linear_cross_entropy", 4096, 512, 192, backward=True, quick=True)
    yield codebook("code_statistics", 16384, 512, 32, quick=True)
    yield codebook("code_statistics", 4096, 8192, 256)


def _gpu() -> Iterator[Case]:
    """The promised cases come first, so that a run that is cut has them."""
    yield decode(1024, 2048, 19, "uint8", quick=True)
    yield decode(1024, 2048, 19, "float32", quick=True)
    yield decode(1024, 2048, 150, "uint8")
    yield decode(1024, 2048, 150, "float32")
    yield codebook("nearest_code", ROWS, 8192, 256, dtype="bfloat16", quick=True)
    yield codebook("nearest_code", ROWS, 8192, 256, quick=True)
    yield evaluate(256, 512, 1024, 2048, 19, quick=True)
    yield evaluate(256, 512, 1024, 2048, 150)
    yield codebook("linear_argmax", ROWS, 8192, 2048, dtype="bfloat16", quick=True)
    yield codebook("linear_cross_entropy", ROWS, 8192, 2048, dtype="bfloat16", backward=True, quick=True)
    yield encode(4096, 4096, 19, "float32", quick=True)
    yield codebook("nearest_code", 9216, 8192, 256, dtype="bfloat16")
    yield codebook("linear_argmax", ROWS, 8192, 2048)
    yield codebook("linear_sample", ROWS, 8192, 2048, dtype="bfloat16", quick=True)
    yield codebook("linear_cross_entropy", ROWS, 8192, 2048, dtype="bfloat16", backward=False)
    yield codebook("code_statistics", ROWS, 8192, 256, quick=True)
    yield label_resize(512, 512, 1024, 2048, 19, quick=True)
    yield confusion(1024, 2048, 19, quick=True)
    yield codebook("nearest_code", ROWS, 8192, 256, content="clustered")
    yield codebook("nearest_code", 9216, 8192, 256)
    yield codebook("nearest_code", ROWS, 1024, 64, dtype="float16")
    yield codebook("linear_argmax", 9216, 8192, 2048, dtype="bfloat16")
    yield codebook("linear_cross_entropy", 9216, 8192, 2048, dtype="bfloat16", backward=True)
    yield codebook("linear_cross_entropy", 9216, 8192, 512, backward=True)
    yield codebook("code_statistics", ROWS, 512, 32)
    yield decode(1024, 2048, 19, "bfloat16")
    yield decode(1024, 2048, 150, "float32", content="random")
    yield decode(512, 512, 150, "float32")
    yield decode(4096, 4096, 19, "float32")
    yield encode(1024, 2048, 19, "float32")
    yield encode(4096, 4096, 19, "bfloat16")
    yield encode(4096, 4096, 150, "uint8")
    yield label_resize(1024, 2048, 512, 1024, 19)
    yield confusion(1024, 2048, 150)


def _sweeps() -> Iterator[Case]:
    for power in range(12, 23, 2):
        height, width = 1 << power // 2, 1 << (power - power // 2)
        yield encode(height, width, 19, "float32", study="pixels", at=1 << power)
        yield decode(height, width, 19, "float32", study="pixels", at=1 << power, quick=power == 16)
    for classes in (2, 8, 32, 128, 256, 1024):
        yield decode(256, 256, classes, "float32", study="classes", at=classes)
    for rows in (64, 256, 1024, 4096):
        yield codebook("nearest_code", rows, 4096, 256, study="rows", at=rows, quick=rows == 256)
        yield codebook("linear_cross_entropy", rows, 4096, 256, study="rows", at=rows, backward=True)
    for codes in (64, 512, 4096, 32768):
        yield codebook("nearest_code", 512, codes, 256, study="codes", at=codes)
    for features in (4, 16, 64, 256, 1024):
        yield codebook("nearest_code", 1024, 2048, features, study="features", at=features)


def _threads(cores: int) -> Iterator[Case]:
    for threads in sorted({1 << i for i in range(cores.bit_length())} | {cores}):
        fixed = {"study": "threads", "at": threads, "threads": threads}
        yield encode(1024, 2048, 19, "float32", **fixed)
        yield decode(1024, 2048, 19, "float32", **fixed)
        yield decode(512, 512, 150, "float32", **fixed)
        yield codebook("nearest_code", 1024, 8192, 256, **fixed)
        yield codebook("linear_cross_entropy", 512, 8192, 256, backward=True, **fixed)


def _overhead() -> Iterator[Case]:
    fixed = {"study": "overhead", "quick": True}
    yield encode(2, 2, 19, "float32", **fixed)
    yield decode(2, 2, 19, "float32", **fixed)
    yield label_resize(2, 2, 3, 3, 19, **fixed)
    yield evaluate(2, 2, 2, 2, 19, **fixed)
    yield confusion(2, 2, 19, **fixed)
    for op in ("nearest_code", "linear_argmax", "linear_sample", "code_statistics"):
        yield codebook(op, 2, 4, 8, **fixed)
    yield codebook("linear_cross_entropy", 2, 4, 8, backward=False, **fixed)


def encode(height: int, width: int, classes: int, dtype: str, **study: Any) -> Case:
    sizes = {"height": height, "width": width, "classes": classes, "dtype": dtype}
    return Case("maskige_encode", f"{height}x{width}, K = {classes}, to {dtype}", sizes, **study)


def decode(height: int, width: int, classes: int, dtype: str, content: str = "scene", **study: Any) -> Case:
    sizes = {"height": height, "width": width, "classes": classes, "dtype": dtype, "content": content}
    shown = "" if content == "scene" else f", {content} colours"
    return Case("maskige_decode", f"{height}x{width}, K = {classes}, {dtype}{shown}", sizes, **study)


def label_resize(height: int, width: int, out_height: int, out_width: int, classes: int, **study: Any) -> Case:
    sizes = {"height": height, "width": width, "out_height": out_height, "out_width": out_width, "classes": classes}
    return Case("label_resize", f"{height}x{width} to {out_height}x{out_width}, K = {classes}", sizes, **study)


def evaluate(height: int, width: int, out_height: int, out_width: int, classes: int, **study: Any) -> Case:
    resize = label_resize(height, width, out_height, out_width, classes)
    return Case("maskige_evaluate", resize.label + ", float32", {**resize.sizes, "dtype": "float32"}, **study)


def confusion(height: int, width: int, classes: int, **study: Any) -> Case:
    sizes = {"height": height, "width": width, "classes": classes}
    return Case("confusion_matrix", f"{height}x{width}, K = {classes}", sizes, **study)


def codebook(
    op: str,
    rows: int,
    codes: int,
    features: int,
    *,
    dtype: str = "float32",
    content: str = "normal",
    backward: bool | None = None,
    **study: Any,
) -> Case:
    """`content` "normal" draws rows and codes independently: many codes are nearly as near as the nearest.
    "clustered" draws rows around codes, as in a trained tokenizer."""
    sizes = {"rows": rows, "codes": codes, "features": features, "dtype": dtype, "content": content}
    label = f"{rows} x {codes} x {features}, {dtype}" + ("" if content == "normal" else f", {content}")
    if backward is not None:
        sizes["backward"] = backward
        label += ", forward + backward" if backward else ", forward"
    return Case(op, label, sizes, **study)
