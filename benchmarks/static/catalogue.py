"""The calls whose kernels are compiled: every operation, over its dtypes, options, and usual and awkward shapes.

A call runs a function of `gsskernels.triton` on tensors of the meta device while `launch.record` listens, so that what
is compiled is what the backend would start, with the configuration it plans for each architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.static.variants import Variant, variants
from gsskernels import triton as backend
from gsskernels.reference.cross_entropy import CrossEntropyOptions
from gsskernels.triton.launch import record
from gsskernels.triton.plan import SM_80, SM_86, SM_90, SM_100, Architecture

ARCHITECTURES = (SM_80, SM_86, SM_90, SM_100)
SHRUNK = (SM_86,)  # compiled where plans give tiles up for want of shared memory: elsewhere the code is that of sm_80
PLANNED_BY_MEMORY = ("nearest_code", "linear_argmax", "linear_sample", "linear_cross_entropy")
QUICK_ARCHITECTURES = (SM_80, SM_90, SM_100)

F32, F16, BF16, U8 = torch.float32, torch.float16, torch.bfloat16, torch.uint8
I16, I32, I64 = torch.int16, torch.int32, torch.int64
NAMES = {F32: "float32", F16: "float16", BF16: "bfloat16", U8: "uint8", I16: "int16", I32: "int32", I64: "int64"}


@dataclass(frozen=True)
class Call:
    op: str
    label: str
    run: Callable[[], Any]
    quick: bool = False  # one of the few that `make test` compiles

    @property
    def name(self) -> str:
        return f"{self.op} {self.label}"


def recorded(calls: Iterable[Call], architectures: Iterable[Architecture]) -> list[Variant]:
    """The launches of the calls, without duplicates; quick calls first, so that shared kernels are named after them."""
    launches = []
    for architecture in architectures:
        for call in sorted(calls, key=lambda c: not c.quick):
            if architecture in SHRUNK and call.op not in PLANNED_BY_MEMORY:
                continue
            with record(architecture) as found:
                call.run()
            launches += [(call.name, architecture, launched) for launched in found]
    return variants(launches)


def catalogue() -> list[Call]:
    """Every call. Names are unique."""
    found = [*encode(), *decode(), *labels(), *argmax(), *sampling(), *cross_entropy(), *statistics()]
    names = [call.name for call in found]
    if len(set(names)) < len(names):
        raise ValueError(f"calls with the same name: {sorted(n for n in set(names) if names.count(n) > 1)}")
    return found


def meta(*shape: int, dtype: torch.dtype = F32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


# --- Maskiges: the promised 1024x2048 with 19 and 150 classes, 16 Mpx, and odd sizes, strides and counts ------------


def encode() -> Iterator[Call]:
    def call(height: int, width: int, k: int, ids: torch.dtype, out: torch.dtype, quick: bool = False) -> Call:
        def run() -> Any:
            return backend.maskige_encode(
                meta(height, width, dtype=ids), meta(k, 3), 1 / 127.5, -1.0, 255, (0.0, 0.0, 0.0), out
            )

        label = f"{height}x{width} K={k} {NAMES[ids]} to {NAMES[out]}"
        return Call("encode", label, run, quick)

    yield call(4096, 4096, 19, U8, F32, quick=True)
    for out in (F16, BF16, U8):
        yield call(4096, 4096, 19, U8, out)
    for ids in (I16, I32, I64):
        yield call(1024, 2048, 150, ids, F32)
    yield call(7, 13, 1, U8, F32)
    yield call(512, 512, 300, I32, F32)
    yield call(512, 512, 5000, I32, F32)

    def strided() -> Any:
        ids = meta(4, 515, 1030, dtype=U8)[:, 1:-2, ::2]
        return backend.maskige_encode(ids, meta(19, 3), 1.0, 0.0, 255, (0.0, 0.0, 0.0), F32)

    yield Call("encode", "strided labels", strided)


def decode() -> Iterator[Call]:
    def call(height, width, k, dtype, size=None, resize="vote", margin=False, channels_last=False, quick=False) -> Call:
        def run() -> Any:
            image = meta(height, width, 3, dtype=dtype).permute(2, 0, 1) if channels_last else None
            image = meta(3, height, width, dtype=dtype) if image is None else image
            return backend.maskige_decode(image, meta(k, 3), size, resize, margin)

        label = f"{height}x{width} K={k} {NAMES[dtype]}"
        label += f" to {size[0]}x{size[1]} by {resize}" if size else ""
        label += " margin" * margin + " channels-last" * channels_last
        return Call("decode", label, run, quick)

    for k in (19, 150):
        yield call(1024, 2048, k, U8, quick=True)
        yield call(1024, 2048, k, F32, quick=True)
        yield call(1024, 2048, k, F32, margin=True)
        yield call(1024, 2048, k, F32, channels_last=True)
        yield call(512, 512, k, F32, (1024, 1024), "rgb", quick=k == 19)
        yield call(512, 512, k, F32, (1024, 1024), "vote", quick=k == 19)
        yield call(512, 512, k, F32, (1024, 1024), "vote", margin=True)
        yield call(512, 512, k, U8, (1024, 1024), "rgb", margin=True)
    for dtype in (F16, BF16):
        yield call(1024, 2048, 19, dtype)
        yield call(1024, 2048, 150, dtype)
    yield call(7, 13, 1, F32, margin=True)
    yield call(7, 13, 2, F32, (3, 5))
    yield call(512, 512, 300, F32)
    yield call(512, 512, 5000, F32)


def labels() -> Iterator[Call]:
    def resize(ids: torch.dtype, k: int, quick: bool = False) -> Call:
        return Call(
            "label_resize",
            f"512x512 to 1024x2048 K={k} {NAMES[ids]}",
            lambda: backend.label_resize(meta(512, 512, dtype=ids), (1024, 2048), k, 255),
            quick,
        )

    def confusion(prediction: torch.dtype, target: torch.dtype, k: int, quick: bool = False) -> Call:
        def run() -> Any:
            return backend.confusion_matrix(meta(1024, 2048, dtype=prediction), meta(1024, 2048, dtype=target), k, 255)

        return Call("confusion", f"1024x2048 K={k} {NAMES[prediction]} {NAMES[target]}", run, quick)

    def evaluate(height: int, width: int, k: int, dtype: torch.dtype, resize: str, quick: bool = False) -> Call:
        def run() -> Any:
            return backend.maskige_evaluate(
                meta(3, height, width, dtype=dtype), meta(k, 3), meta(1024, 2048, dtype=U8), 255, resize
            )

        return Call("evaluate", f"{height}x{width} to 1024x2048 K={k} {NAMES[dtype]} by {resize}", run, quick)

    yield resize(U8, 19, quick=True)
    yield resize(I64, 150)
    yield confusion(U8, U8, 19, quick=True)
    yield confusion(U8, U8, 150)
    yield confusion(I64, I64, 150)
    yield confusion(I32, I32, 1000)
    for k in (19, 150):
        yield evaluate(256, 512, k, F32, "vote", quick=True)
        yield evaluate(256, 512, k, F32, "rgb")
        yield evaluate(1024, 2048, k, U8, "vote")


# --- Codebooks: the promised 73728 rows, one image's 9216, few rows, and features that fill no block ----------------


def rows(count: int, features: int, dtype: torch.dtype, first: bool = False) -> tuple[Tensor, int]:
    """x and the dimension of its features: (N, D), or the map (8, D, N / 8) of a network."""
    if first:
        return meta(8, features, count // 8, dtype=dtype), 1
    return meta(count, features, dtype=dtype), 1


def _shape(n: int, v: int, d: int, dtype: torch.dtype, extra: str = "") -> str:
    return f"{n} x {v} x {d} {NAMES[dtype]}{extra and ' ' + extra}"


def argmax() -> Iterator[Call]:
    def nearest(n, v, d, dtype, precision=None, first=False, quick=False) -> Call:
        def run() -> Any:
            x, dim = rows(n, d, dtype, first)
            return backend.nearest_code(x, meta(v, d, dtype=dtype), dim, precision)

        extra = " ".join(filter(None, (precision, "features first" if first else "")))
        return Call("nearest_code", _shape(n, v, d, dtype, extra), run, quick)

    def linear(n, v, d, dtype, precision=None, first=False, bias=True) -> Call:
        def run() -> Any:
            x, dim = rows(n, d, dtype, first)
            return backend.linear_argmax(
                x, meta(v, d, dtype=dtype), meta(v, dtype=dtype) if bias else None, dim, precision
            )

        extra = " ".join(filter(None, (precision, "features first" if first else "", "" if bias else "no bias")))
        quick = (n, d, dtype, first, bias) == (73728, 2048, BF16, False, True)
        return Call("linear_argmax", _shape(n, v, d, dtype, extra), run, quick)

    yield nearest(73728, 8192, 256, BF16, quick=True)
    yield nearest(73728, 8192, 256, F32, quick=True)
    yield nearest(73728, 8192, 256, F32, "tf32", quick=True)
    yield nearest(73728, 8192, 256, F16)
    yield nearest(73728, 8192, 256, F32, "bf16")
    for dtype in (BF16, F32):
        yield nearest(73728, 8192, 256, dtype, first=True)
        yield nearest(9216, 8192, 256, dtype)
        yield nearest(9216, 512, 64, dtype)
        yield nearest(36864, 1024, 128, dtype)
        yield nearest(100, 1000, 17, dtype)
        yield nearest(16, 8192, 512, dtype)
        yield nearest(5, 3, 1, dtype)
    for dtype in (BF16, F32):
        yield linear(73728, 8192, 2048, dtype)
    yield linear(73728, 8192, 2048, F32, "tf32")
    yield linear(73728, 8192, 2048, BF16, bias=False)
    for dtype in (BF16, F32):
        yield linear(73728, 8192, 2048, dtype, first=True)
        yield linear(9216, 8192, 513, dtype)
        yield linear(64, 50257, 768, dtype)


def sampling() -> Iterator[Call]:
    def call(n: int, v: int, d: int, dtype: torch.dtype, first: bool = False, quick: bool = False) -> Call:
        def run() -> Any:
            x, dim = rows(n, d, dtype, first)
            return backend.linear_sample(x, meta(v, d, dtype=dtype), meta(v, dtype=dtype), 0.8, 1234, dim)

        return Call("linear_sample", _shape(n, v, d, dtype, "features first" if first else ""), run, quick)

    yield call(73728, 8192, 2048, BF16, quick=True)
    yield call(73728, 8192, 2048, F16)
    yield call(73728, 8192, 2048, F32)
    yield call(9216, 8192, 2048, BF16, first=True)
    yield call(9216, 1024, 256, BF16)
    yield call(9216, 1024, 256, F32)
    yield call(5, 7, 3, F32)


def cross_entropy() -> Iterator[Call]:
    every = (True, True, True)  # gradients of x, weight and bias

    def call(n, v, d, dtype, reduction="mean", smoothing=0.0, gradients=every, first=False, quick=False) -> Call:
        def run() -> Any:
            x, dim = rows(n, d, dtype, first)
            target = meta(*(size for axis, size in enumerate(x.shape) if axis != dim), dtype=I64)
            weight, bias = meta(v, d, dtype=dtype), meta(v, dtype=dtype)
            wanted = gradients if reduction != "none" else (False, False, False)
            options = CrossEntropyOptions(dim, -100, smoothing, reduction, wanted)
            loss, lse, *_ = backend.linear_cross_entropy(x, weight, target, bias, options)
            if reduction == "none" and any(gradients):
                backward = replace(options, gradients=gradients)
                backend.linear_cross_entropy_backward(loss, x, weight, target, bias, lse, backward)

        extra = [reduction, f"smoothing {smoothing}" if smoothing else "", "features first" if first else ""]
        extra.append("" if any(gradients) else "loss only")
        return Call("linear_cross_entropy", _shape(n, v, d, dtype, " ".join(filter(None, extra))), run, quick)

    yield call(73728, 8192, 2048, BF16, quick=True)
    yield call(73728, 8192, 2048, F16)
    yield call(73728, 8192, 2048, F32)
    yield call(73728, 8192, 2048, BF16, gradients=(False, False, False), quick=True)
    yield call(73728, 8192, 2048, BF16, smoothing=0.1)
    yield call(73728, 8192, 2048, BF16, first=True)
    yield call(9216, 8192, 2048, BF16, "none")
    yield call(9216, 8192, 2048, F32, "none", smoothing=0.1)
    yield call(9216, 1024, 256, F32, "sum")
    yield call(5, 7, 3, F32)
    yield call(64, 50257, 768, BF16)


def statistics() -> Iterator[Call]:
    def call(n: int, v: int, d: int, dtype: torch.dtype, first: bool = False, quick: bool = False) -> Call:
        def run() -> Any:
            x, dim = rows(n, d, dtype, first)
            codes = meta(*(size for axis, size in enumerate(x.shape) if axis != dim), dtype=I64)
            return backend.code_statistics(x, codes, v, dim)

        return Call("code_statistics", _shape(n, v, d, dtype, "features first" if first else ""), run, quick)

    yield call(73728, 8192, 256, F32, quick=True)
    yield call(73728, 8192, 256, BF16)
    yield call(73728, 8192, 256, F32, first=True)
    yield call(100, 1000, 17, F32)
    yield call(2097152, 19, 3, F32, first=True)
