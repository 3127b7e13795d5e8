"""A call of every public operation: a function of tensors, and inputs of two sizes for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import gsskernels as g
from tests.gsskernels.inputs import gaussian, random_palette, seeded

SIZES = ((2, 181, 203), (3, 93, 70))  # images, height, width; no dimension is shared, which could hide a mistake


@dataclass(frozen=True)
class Call:
    function: Callable[..., Any]
    inputs: Callable[[int], tuple[Tensor, ...]]  # of a size, 0 or 1
    exact: bool = True  # False: sums of floats, whose order a compiler may choose
    leaves: int = 0  # the result includes the gradients of this many first inputs

    def run(self, *inputs: Tensor, function: Callable[..., Any] | None = None) -> Any:
        """The result of the call; `function` replaces its own, for example by the compiled one."""
        function = function or self.function
        if not self.leaves:
            return function(*inputs)
        leaves = [t.detach().requires_grad_() for t in inputs[: self.leaves]]
        loss = function(*leaves, *inputs[self.leaves :])
        weights = torch.arange(loss.numel(), device=loss.device).view(loss.shape)  # rows must not be interchangeable
        return loss.detach(), *torch.autograd.grad((loss * (1 + weights)).sum(), leaves)

    def __call__(self) -> Any:
        return self.run(*self.inputs(0))


def image(size: int) -> Tensor:
    return torch.rand(SIZES[size][0], 3, *SIZES[size][1:], generator=seeded(1)) * 255


def labels(size: int) -> Tensor:
    return torch.randint(-2, 21, SIZES[size], generator=seeded(2))


def rows(size: int) -> Tensor:
    return gaussian((4, 2)[size], 24, (37, 53)[size], 41, seed=3)


def ids(size: int) -> Tensor:
    return torch.randint(0, 133, ((4, 2)[size], (37, 53)[size], 41), generator=seeded(6))


def table() -> Tensor:
    return gaussian(133, 24, seed=4)


def bias() -> Tensor:
    return gaussian(133, seed=5)


def _decode(k: int, **options: Any) -> Call:
    return Call(partial(g.maskige_decode, **options), lambda size: (image(size), random_palette(k)))


def _half(size: int) -> tuple[Tensor, ...]:
    return rows(size).half(), table().half()


def _loss(reduction: str, leaves: int, half: bool = False) -> Call:
    def inputs(size: int) -> tuple[Tensor, ...]:
        operands = rows(size), table(), bias()
        return *(t.half() if half else t for t in operands), ids(size)

    def loss(x: Tensor, weight: Tensor, offset: Tensor, target: Tensor) -> Tensor:
        return g.linear_cross_entropy(x, weight, target, offset, dim=1, reduction=reduction)

    return Call(loss, inputs, exact=False, leaves=leaves)


CALLS: dict[str, Call] = {
    "encode": Call(partial(g.maskige_encode, scale=1 / 255), lambda size: (labels(size), random_palette(19))),
    "encode bfloat16": Call(
        partial(g.maskige_encode, dtype=torch.bfloat16), lambda size: (labels(size), random_palette(19))
    ),
    "encode, gradient of the palette": Call(
        lambda palette, t: g.maskige_encode(t, palette),
        lambda size: (random_palette(19), labels(size)),
        exact=False,
        leaves=1,
    ),
    "decode": _decode(19),
    "decode, margin": _decode(150, margin=True),
    "decode uint8": Call(g.maskige_decode, lambda size: (image(size).to(torch.uint8), random_palette(150))),
    "decode, vote": _decode(19, size=(400, 123), margin=True),
    "decode, rgb": _decode(19, size=(120, 377), resize="rgb", margin=True),
    "evaluate": Call(g.maskige_evaluate, lambda size: (image(size), random_palette(19), labels(size))),
    "evaluate, vote": Call(
        g.maskige_evaluate, lambda size: (image(size), random_palette(19), labels(size)[:, :50, 7:61])
    ),
    "label_resize": Call(lambda t: g.label_resize(t, (97, 411), num_classes=19), lambda size: (labels(size),)),
    "confusion_matrix": Call(
        lambda p, t: g.confusion_matrix(p, t, 19), lambda size: (labels(size), labels(size).flip(1))
    ),
    "nearest_code": Call(partial(g.nearest_code, dim=1), lambda size: (rows(size), table())),
    "nearest_code float16": Call(partial(g.nearest_code, dim=1), _half),
    "nearest_code tf32": Call(partial(g.nearest_code, dim=1, precision="tf32"), lambda size: (rows(size), table())),
    "linear_argmax": Call(partial(g.linear_argmax, dim=1), lambda size: (rows(size), table(), bias())),
    "linear_argmax float16": Call(partial(g.linear_argmax, dim=1), lambda size: (*_half(size), bias().half())),
    "linear_sample": Call(partial(g.linear_sample, dim=1), lambda size: (rows(size), table(), bias())),
    "code_statistics": Call(
        lambda x, codes: g.code_statistics(x, codes, 133, dim=1), lambda size: (rows(size), ids(size)), exact=False
    ),
    "linear_cross_entropy": _loss("mean", 0),
    "gradients of linear_cross_entropy": _loss("mean", 3),
    "gradients of linear_cross_entropy, float16": _loss("mean", 3, half=True),
    "gradients of its rows": _loss("none", 3),
}
