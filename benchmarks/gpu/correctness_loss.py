"""linear_cross_entropy: loss and gradients at most twice as far from float64 as PyTorch's in the same dtype."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gsskernels as g
from benchmarks.gpu import judge
from benchmarks.gpu.checks import Absent, Check, Wrong
from benchmarks.gpu.place import Place

# Odd everything, one token, more tokens than a tile, the head of the paper, many features.
SHAPES = [(257, 515, 123), (70, 1, 16), (1000, 8192, 256), (640, 8192, 2048), (4097, 100, 33)]
TINY = [(9, 19, 5), (6, 1, 3)]


def checks(place: Place) -> Iterator[Check]:
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        group = f"linear_cross_entropy/{dtype}"
        for shape in TINY if place.dry else SHAPES:
            for reduction in ("mean", "sum", "none"):
                name = f"{reduction} {' x '.join(map(str, shape))}"
                yield Check(group, name, partial(_loss, place, dtype, shape, reduction=reduction))
        shape = TINY[0] if place.dry else SHAPES[0]
        for smoothing in (0.1, 1.0):
            for reduction in ("mean", "none"):
                name = f"label smoothing {smoothing}, {reduction}"
                run = partial(_loss, place, dtype, shape, reduction=reduction, label_smoothing=smoothing)
                yield Check(group, name, run)
        yield Check(group, "no bias", partial(_loss, place, dtype, shape, bias=False))
        yield Check(group, "channels first", partial(_loss, place, dtype, shape, channels_first=True))
        enough = (200, 100, 33) if place.dry else shape  # rows for errors that do not depend on luck
        yield Check(group, "large logits", partial(_loss, place, dtype, enough, scale=30.0))
        yield Check(group, "most rows ignored", partial(_loss, place, dtype, shape, ignored=0.95))
        yield Check(group, "all rows ignored, no rows", partial(_nothing, place, dtype))


def _loss(
    place: Place,
    dtype: str,
    shape: tuple[int, int, int],
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    bias: bool = True,
    channels_first: bool = False,
    scale: float = 1.0,
    ignored: float = 0.1,
) -> dict[str, Any]:
    if place.interpreted and dtype == "bfloat16":
        raise Absent("the interpreter multiplies bfloat16 matrices wrongly")
    rows, codes, features = shape
    kind = getattr(torch, dtype)
    options: dict[str, Any] = {"generator": place.generator(sum(shape)), "device": place.device}
    x = (scale * torch.randn(rows, features, **options)).to(kind)
    weight = (torch.randn(codes, features, **options) / features**0.5).to(kind)
    offset = torch.randn(codes, **options).to(kind) if bias else None
    target = torch.randint(0, codes, (rows,), **options)
    target = torch.where(torch.rand(rows, **options) < ignored, codes, target)  # GSS ignores the id V
    settings: dict[str, Any] = {"ignore_index": codes, "label_smoothing": label_smoothing, "reduction": reduction}

    def ours(x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        if not channels_first:
            return g.linear_cross_entropy(x, weight, target, offset, **settings, backend=place.backend)
        image = x.t()[None]  # (1, D, N)
        return g.linear_cross_entropy(image, weight, target[None], offset, dim=1, **settings, backend=place.backend)

    def theirs(x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        return F.cross_entropy(F.linear(x, weight, offset), target, **settings)

    leaves = [t for t in (x, weight, offset) if t is not None]
    upstream = torch.linspace(-1, 2, rows, dtype=torch.float64, device=place.device)
    results = [
        _with_gradients(function, [t.to(wide) for t in leaves], upstream)
        for function, wide in ((ours, kind), (theirs, kind), (theirs, torch.float64))
    ]
    steep = max(1.0, float(F.linear(x.double(), weight.double()).abs().max()))
    measured: dict[str, Any] = {}
    for name, got, same_dtype, truth in zip(("loss", "dx", "dweight", "dbias"), *results, strict=False):
        measured |= judge.no_worse(got, same_dtype, truth, name, steep)
    with torch.no_grad():
        alone = ours(x, weight, offset)
    measured |= judge.no_worse(alone, results[1][0], results[2][0].view(alone.shape), "loss without gradients")
    return measured


def _with_gradients(function: Any, leaves: list[Tensor], upstream: Tensor) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in leaves]
    loss = function(*leaves, *[None] * (3 - len(leaves))).flatten()
    gradients = torch.autograd.grad(loss, leaves, (upstream if loss.numel() > 1 else upstream[-1:]).to(loss.dtype))
    return [loss.detach() if loss.numel() > 1 else loss.detach().reshape(()), *gradients]


def _nothing(place: Place, dtype: str) -> None:
    kind, device = getattr(torch, dtype), place.device
    if place.interpreted and dtype == "bfloat16":
        raise Absent("the interpreter multiplies bfloat16 matrices wrongly")
    weight = torch.randn(19, 8, generator=place.generator(0), device=device).to(kind)
    for rows in (12, 0):
        x = torch.ones(rows, 8, dtype=kind, device=device, requires_grad=True)
        target = torch.full((rows,), -100, device=device)
        if not bool(g.linear_cross_entropy(x, weight, target, backend=place.backend).isnan()):
            raise Wrong(f"the mean over {rows} ignored rows is a number, expected NaN as in PyTorch")
        loss = g.linear_cross_entropy(x, weight, target, reduction="sum", backend=place.backend)
        (gradient,) = torch.autograd.grad(loss, x)
        if float(loss.detach()) != 0 or bool(gradient.any()):
            raise Wrong(f"the sum over {rows} ignored rows is {float(loss.detach())} and sends a gradient")
