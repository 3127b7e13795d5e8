"""One call of every public operation: a function of tensors only, and tensors of two sizes for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import gsskernels as g
from benchmarks.gpu.place import Place

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Call:
    name: str
    function: Callable[..., Any]
    inputs: Callable[[int], Tensors]  # of a size, 0 or 1; sizes share no dimension that could hide a mistake
    exact: bool = True  # False: sums of floats, whose order a compiler may choose
    leaves: int = 0  # the gradients of this many first inputs belong to the result

    def run(self, *inputs: Tensor, function: Callable[..., Any] | None = None) -> Any:
        """The call's result; `function` is the same one compiled."""
        function = function or self.function
        if not self.leaves:
            return function(*inputs)
        leaves = [t.detach().requires_grad_() for t in inputs[: self.leaves]]
        loss = function(*leaves, *inputs[self.leaves :])
        return loss.detach(), *torch.autograd.grad(loss.sum(), leaves)


def calls(place: Place) -> list[Call]:
    backend = place.backend

    def palette(k: int = 19) -> Tensor:
        return torch.randint(0, 256, (k, 3), generator=place.generator(9), device=place.device)

    def image(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        shape = (2, 3, (21, 34)[size], (35, 18)[size])
        return (torch.rand(shape, generator=place.generator(size), device=place.device) * 255).to(dtype)

    def labels(size: int, k: int = 19) -> Tensor:
        shape = (2, (21, 34)[size], (35, 18)[size])
        return torch.randint(0, k, shape, generator=place.generator(size), device=place.device, dtype=torch.uint8)

    def rows(size: int, dtype: torch.dtype = torch.float16) -> Tensor:
        shape = ((150, 77)[size], 40)
        return torch.randn(shape, generator=place.generator(size), device=place.device).to(dtype)

    def table(dtype: torch.dtype = torch.float16) -> Tensor:
        return torch.randn(131, 40, generator=place.generator(9), device=place.device).to(dtype)

    def ids(size: int) -> Tensor:
        return torch.randint(0, 131, ((150, 77)[size],), generator=place.generator(size), device=place.device)

    half, single = torch.float16, torch.float32
    return [
        Call("maskige_encode", partial(g.maskige_encode, scale=1 / 255, backend=backend),
             lambda size: (labels(size), palette())),
        Call("maskige_decode", partial(g.maskige_decode, backend=backend), lambda size: (image(size), palette())),
        Call("maskige_decode, K = 150, uint8", partial(g.maskige_decode, backend=backend),
             lambda size: (image(size, torch.uint8), palette(150))),
        Call("maskige_decode, margin", partial(g.maskige_decode, margin=True, backend=backend),
             lambda size: (image(size), palette(150))),
        Call("maskige_decode, vote", partial(g.maskige_decode, size=(50, 31), margin=True, backend=backend),
             lambda size: (image(size), palette())),
        Call("maskige_decode, rgb", partial(g.maskige_decode, size=(50, 31), resize="rgb", backend=backend),
             lambda size: (image(size), palette())),
        Call("maskige_evaluate", partial(g.maskige_evaluate, backend=backend),
             lambda size: (image(size), palette(), labels(1 - size))),
        Call("label_resize", lambda t: g.label_resize(t, (50, 31), num_classes=19, backend=backend),
             lambda size: (labels(size),)),
        Call("confusion_matrix", lambda p, t: g.confusion_matrix(p, t, 19, backend=backend),
             lambda size: (labels(size), labels(size).flip(1))),
        Call("nearest_code", partial(g.nearest_code, backend=backend), lambda size: (rows(size), table())),
        Call("nearest_code, certified", partial(g.nearest_code, backend=backend),
             lambda size: (rows(size, single), table(single))),
        Call("linear_argmax", partial(g.linear_argmax, backend=backend),
             lambda size: (rows(size), table(), table()[:, 0])),
        Call("linear_argmax, tf32", partial(g.linear_argmax, precision="tf32", backend=backend),
             lambda size: (rows(size, single), table(single))),
        Call("linear_sample", partial(g.linear_sample, seed=5, backend=backend), lambda size: (rows(size), table())),
        Call("code_statistics", lambda x, codes: g.code_statistics(x, codes, 131, backend=backend),
             lambda size: (rows(size), ids(size)), exact=False),
        Call("linear_cross_entropy", partial(g.linear_cross_entropy, backend=backend),
             lambda size: (rows(size, half), table(half), ids(size)), exact=False, leaves=2),
        Call("linear_cross_entropy, rows", partial(g.linear_cross_entropy, reduction="none", backend=backend),
             lambda size: (rows(size, single), table(single), ids(size)), exact=False, leaves=2),
        Call("linear_cross_entropy, forward", partial(g.linear_cross_entropy, backend=backend),
             lambda size: (rows(size), table(), ids(size)), exact=False),
        Call("maskige_encode, palette's gradient", lambda p, t: g.maskige_encode(t, p, backend=backend),
             lambda size: (palette().float(), labels(size)), exact=False, leaves=1),
    ]  # fmt: skip
