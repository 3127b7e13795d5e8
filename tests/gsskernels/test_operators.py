"""The operators inside torch: opcheck, export, vmap, second derivatives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gsskernels as g
from gsskernels import _ops
from tests.gsskernels.inputs import seeded

OPERATORS = sorted(name for name, value in vars(_ops).items() if isinstance(value, torch._ops.OpOverload))
# Asymmetric: a fake kernel that swaps height and width, or V and D, shows only where they differ.
SHAPES = [(1, 2, 5, 3, 4), (2, 7, 3, 1, 2), (3, 4, 6, 11, 9)]  # B, H, W, classes or codes, features


def arguments(name: str, shape: tuple[int, ...], *, grad: bool = False) -> tuple[Any, ...]:
    b, h, w, k, d = shape
    make = seeded(sum(shape))
    labels = torch.randint(0, k, (b, h, w), generator=make)
    image = torch.rand(b, 3, h, w, generator=make) * 255
    palette = (torch.rand(k, 3, generator=make) * 255).requires_grad_(grad)
    x = torch.randn(b, d, h, w, generator=make).requires_grad_(grad)
    table, bias = torch.randn(k, d, generator=make).requires_grad_(grad), torch.randn(k, generator=make)
    bias.requires_grad_(grad)
    size = [h + 1, 2 * w + 1]
    loss = (1, -100, 0.1)  # dim, ignore_index, label_smoothing
    paint = (labels, palette, 0.5, 1.0, 255, [1.0, 2.0, 3.0], torch.float32)
    lse = torch.nn.functional.linear(x.movedim(1, -1), table, bias).logsumexp(-1).flatten().detach()
    given: dict[str, tuple[Any, ...]] = {
        "code_statistics": (x, labels, k, 1),
        "confusion_matrix": (labels, labels.flip(1), k, 255),
        "label_resize": (labels, size, k, 255),
        "linear_argmax": (x, table, bias, 1, None),
        "linear_cross_entropy": (x, table, labels, bias, *loss, "sum"),
        "linear_cross_entropy_with_gradients": (x, table, labels, bias, *loss, "mean", [grad] * 3),
        "linear_cross_entropy_backward": (
            torch.ones(b, h, w), x, table, labels, bias, lse, *loss, "none", [True, False, True],
        ),
        "linear_sample": (x, table, None, 0.7, 3, 1),
        "maskige_decode": (image, palette, size, "vote"),
        "maskige_decode_margin": (image, palette, None, "rgb"),
        "maskige_encode": paint,
        "maskige_encode_with_gradient": paint,
        "maskige_evaluate": (image, palette, labels, 255, "vote"),
        "nearest_code": (x, table, 1, None),
    }  # fmt: skip
    return *given[name], None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str, shape: tuple[int, ...]) -> None:
    torch.library.opcheck(getattr(_ops, name), arguments(name, shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_against_the_reference(name: str, shape: tuple[int, ...], default_backend: str) -> None:
    operator, given = getattr(_ops, name), arguments(name, shape)
    if name == "linear_sample" and default_backend == "triton":
        pytest.skip("triton draws from its own noise")
    torch.testing.assert_close(operator(*given), operator(*given[:-1], "reference"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["linear_cross_entropy_with_gradients", "maskige_encode_with_gradient"])
def test_opcheck_with_gradients(name: str, shape: tuple[int, ...]) -> None:
    torch.library.opcheck(getattr(_ops, name), arguments(name, shape, grad=True))


def test_a_second_derivative_is_refused() -> None:
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(5, 3)
    loss = g.linear_cross_entropy(x, weight, torch.arange(4))
    with pytest.raises(NotImplementedError, match="no second derivative: call backward without create_graph"):
        torch.autograd.grad(loss, x, create_graph=True)


class Everything(torch.nn.Module):
    """Calls most operators in one graph."""

    def forward(self, image: Tensor, features: Tensor, palette: Tensor, table: Tensor) -> tuple[Tensor, ...]:
        labels, margin = g.maskige_decode(image, palette, size=(9, 7), margin=True)
        tokens = g.nearest_code(features, table, dim=1)
        counts, sums = g.code_statistics(features, tokens, table.shape[0], dim=1)
        loss = g.linear_cross_entropy(features, table, tokens, dim=1)
        painted = g.maskige_encode(labels, palette)
        return painted, margin, tokens, counts, sums, loss, g.confusion_matrix(labels, labels, palette.shape[0])


def test_export() -> None:
    inputs = (torch.rand(2, 3, 5, 4) * 255, torch.randn(2, 6, 3, 5), torch.rand(4, 3) * 255, torch.randn(8, 6))
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    exported = torch.export.export(Everything(), inputs, dynamic_shapes=(batch, batch, None, None))
    called = {str(n.target) for n in exported.graph.nodes if "gsskernels" in str(n.target)}
    assert "gsskernels.maskige_decode_margin.default" in called and len(called) == 6
    other = tuple(torch.cat([t, t, t]) for t in inputs[:2]) + inputs[2:]
    for got, wanted in zip(exported.module()(*other), Everything()(*other), strict=True):
        torch.testing.assert_close(got, wanted)


VMAPPED: dict[str, tuple[Callable[..., Any], tuple[int | None, ...], Callable[[], tuple[Tensor, ...]]]] = {
    "decode": (
        lambda m, p: g.maskige_decode(m, p, size=(4, 5), margin=True),
        (1, None),
        lambda: (torch.rand(3, 2, 6, 5) * 255, torch.rand(4, 3) * 255),
    ),
    "decode, a palette each": (
        g.maskige_decode,
        (0, 0),
        lambda: (torch.rand(2, 3, 6, 5) * 255, torch.rand(2, 4, 3) * 255),
    ),
    "encode": (g.maskige_encode, (2, None), lambda: (torch.randint(0, 4, (6, 5, 3)), torch.rand(4, 3))),
    "label_resize": (
        lambda t: g.label_resize(t, (3, 9), num_classes=4),
        (0,),
        lambda: (torch.randint(0, 4, (3, 6, 5)),),
    ),
    "nearest_code": (
        lambda x, c: g.nearest_code(x, c, dim=0),
        (2, None),
        lambda: (torch.randn(4, 5, 3), torch.randn(7, 4)),
    ),
    "linear_argmax": (
        g.linear_argmax,
        (0, None, None),
        lambda: (torch.randn(3, 5, 4), torch.randn(7, 4), torch.randn(7)),
    ),
    "linear_argmax, a bias each": (
        g.linear_argmax,
        (0, None, 0),
        lambda: (torch.randn(3, 5, 4), torch.randn(7, 4), torch.randn(3, 7)),
    ),
    "linear_sample": (
        lambda x, w: g.linear_sample(x, w, seed=5),
        (0, None),
        lambda: (torch.randn(3, 5, 4), torch.randn(7, 4)),
    ),
    "code_statistics": (
        lambda x, c: g.code_statistics(x, c, 4),
        (0, 0),
        lambda: (torch.randn(3, 5, 4), torch.randint(0, 4, (3, 5))),
    ),
    "confusion_matrix": (
        lambda p, t: g.confusion_matrix(p, t, 4),
        (0, 0),
        lambda: (torch.randint(0, 4, (3, 5)), torch.randint(0, 4, (3, 5))),
    ),
    "linear_cross_entropy": (
        g.linear_cross_entropy,
        (0, None, 0),
        lambda: (torch.randn(3, 5, 4), torch.randn(7, 4), torch.randint(0, 7, (3, 5))),
    ),
}


@pytest.mark.parametrize("name", VMAPPED)
def test_vmap_is_a_loop(name: str) -> None:
    function, in_dims, make = VMAPPED[name]
    torch.manual_seed(0)
    inputs = make()
    got = torch.func.vmap(function, in_dims)(*inputs)
    count = next(t.shape[d] for t, d in zip(inputs, in_dims, strict=True) if d is not None)
    calls = [
        function(*(t if d is None else t.select(d, i) for t, d in zip(inputs, in_dims, strict=True)))
        for i in range(count)
    ]
    wanted = tuple(map(torch.stack, zip(*calls, strict=True))) if isinstance(calls[0], tuple) else torch.stack(calls)
    torch.testing.assert_close(got, wanted)
