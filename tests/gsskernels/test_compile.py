"""Whole graphs without breaks, compiled once for dynamic shapes and called on two sizes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gsskernels as g

PALETTE = torch.tensor([[0, 0, 0], [200, 30, 60], [10, 240, 90]])


def image(size: int) -> Tensor:
    return torch.rand(2, 3, size, size + 3, generator=torch.Generator().manual_seed(size)) * 255


def labels(size: int) -> Tensor:
    return torch.randint(0, 4, (2, size, size + 3), generator=torch.Generator().manual_seed(size))


def rows(size: int) -> Tensor:
    return torch.randn(size, 6, generator=torch.Generator().manual_seed(size))


TABLE = rows(11)
CASES: dict[str, tuple[Callable[[Tensor], Any], Callable[[int], Tensor]]] = {
    "maskige_encode": (lambda x: g.maskige_encode(x, PALETTE, scale=1 / 255), labels),
    "maskige_decode": (lambda x: g.maskige_decode(x, PALETTE, size=(2 * x.shape[2], 9), margin=True), image),
    "maskige_evaluate": (lambda x: g.maskige_evaluate(x, PALETTE, x[:, 0].long() % 3), image),
    "label_resize": (lambda x: g.label_resize(x, (9, x.shape[1]), num_classes=3), labels),
    "confusion_matrix": (lambda x: g.confusion_matrix(x, x.flip(1), 3), labels),
    "nearest_code": (lambda x: g.nearest_code(x, TABLE), rows),
    "linear_argmax": (lambda x: g.linear_argmax(x, TABLE, TABLE[:, 0]), rows),
    "linear_sample": (lambda x: g.linear_sample(x, TABLE, seed=x.shape[0]), rows),
    "code_statistics": (lambda x: g.code_statistics(x, x[:, 0].long() % 3, 3), rows),
    "linear_cross_entropy": (lambda x: g.linear_cross_entropy(x, TABLE, x[:, 0].long().abs()), rows),
}


@pytest.mark.parametrize("name", CASES)
def test_full_graph_and_dynamic_shapes(name: str) -> None:
    torch.compiler.reset()
    function, make = CASES[name]
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in (6, 10):
        got, wanted = compiled(make(size)), function(make(size))
        pairs = zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]
        for a, b in pairs:
            torch.testing.assert_close(a, b)


def test_gradients_in_a_full_graph() -> None:
    torch.compiler.reset()
    target = torch.arange(8) % 11

    def loss(x: Tensor, weight: Tensor) -> Tensor:
        return g.linear_cross_entropy(x, weight, target, label_smoothing=0.1)

    results = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        x, weight = rows(8).requires_grad_(), TABLE.clone().requires_grad_()
        results.append(torch.autograd.grad(function(x, weight), (x, weight)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
