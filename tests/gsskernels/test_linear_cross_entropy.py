from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gsskernels.reference.codebook as reference
from gsskernels import linear_cross_entropy
from tests.gsskernels.inputs import seeded

Losses = tuple[Tensor, list[Tensor]]


def problem(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = seeded()
    x, weight = torch.randn(2, 5, 4, 7, generator=generator), torch.randn(11, 7, generator=generator)
    bias, target = torch.randn(11, generator=generator), torch.randint(0, 11, (2, 5, 4), generator=generator)
    target[0, :2, 1] = -100
    return x.to(dtype), weight.to(dtype), bias.to(dtype), target


def backward(loss: Tensor, leaves: list[Tensor]) -> Losses:
    """Gradients for a row-dependent upstream gradient, so that "none" cannot pass by scaling a sum."""
    upstream = (
        torch.linspace(-1, 2, loss.numel(), dtype=loss.dtype).view(loss.shape) if loss.dim() else torch.tensor(3.0)
    )
    return loss.detach(), list(torch.autograd.grad(loss, leaves, upstream.to(loss.dtype)))


def ours(x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, dim: int = -1, **options: Any) -> Losses:
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias) if t is not None]
    loss = linear_cross_entropy(leaves[0], leaves[1], target, *leaves[2:], dim=dim, **options)
    return backward(loss, leaves)


def torch_float64(
    x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, dim: int = -1, **options: Any
) -> Losses:
    leaves = [t.detach().double().requires_grad_() for t in (x, weight, bias) if t is not None]
    logits = F.linear(leaves[0].movedim(dim, -1), leaves[1], *leaves[2:]).flatten(0, -2)
    loss = F.cross_entropy(logits, target.flatten(), **options)
    return backward(loss.view(target.shape) if options.get("reduction") == "none" else loss, leaves)


def assert_same(got: Losses, wanted: Losses, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    for a, b in zip([got[0], *got[1]], [wanted[0], *wanted[1]], strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=rtol, atol=atol, equal_nan=True)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("chunk", [2**20, 50])  # all rows at once, and four at a time
def test_values_and_gradients(
    reduction: str, label_smoothing: float, with_bias: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "CHUNK_SCORES", chunk)
    x, weight, bias, target = problem()
    arguments = (x, weight, bias if with_bias else None, target)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
    assert_same(ours(*arguments, **options), torch_float64(*arguments, **options))


@pytest.mark.parametrize("dim", [1, -1])
def test_channels_first(dim: int) -> None:
    x, weight, bias, target = problem()
    if dim == 1:
        x = x.movedim(-1, 1)
    for view in (x, x.contiguous()):
        assert_same(ours(view, weight, bias, target, dim=dim), torch_float64(view, weight, bias, target, dim=dim))


def test_ignore_index_of_the_vocabulary_size() -> None:
    """GSS marks unlabelled tokens with V, one past the last code."""
    x, weight, bias, target = problem()
    target = torch.where(target < 0, 11, target)
    for reduction in ("mean", "none"):
        options: dict[str, Any] = {"ignore_index": 11, "reduction": reduction}
        assert_same(ours(x, weight, bias, target, **options), torch_float64(x, weight, bias, target, **options))


def test_ignored_rows_send_no_gradient() -> None:
    x, weight, bias, target = problem()
    loss, (dx, _, _) = ours(x, weight, bias, target, reduction="none")
    assert bool((loss[target == -100] == 0).all()) and bool((dx[target == -100] == 0).all())


def test_everything_ignored() -> None:
    x, weight, bias, target = problem()
    nothing = torch.full_like(target, -100)
    assert linear_cross_entropy(x, weight, nothing, bias).isnan()
    assert linear_cross_entropy(x, weight, nothing, bias, reduction="sum") == 0


def test_no_rows() -> None:
    _, weight, bias, _ = problem()
    x, target = torch.empty(0, 7, requires_grad=True), torch.empty(0, dtype=torch.int64)
    assert linear_cross_entropy(x, weight, target, bias).isnan()
    linear_cross_entropy(x, weight, target, bias, reduction="sum").backward()
    assert x.grad is not None and x.grad.shape == (0, 7)


def test_one_token() -> None:
    x, weight, bias, target = problem()
    assert_same(
        ours(x, weight[:1], bias[:1], target.clamp(max=0)), torch_float64(x, weight[:1], bias[:1], target.clamp(max=0))
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_worse_than_torch(
    dtype: torch.dtype, default_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error against float64 is at most PyTorch's (for triton twice that: its logits are in half precision)."""
    times = 2 if default_backend == "triton" else 1
    monkeypatch.setattr(reference, "CHUNK_SCORES", 50)
    x, weight, bias, target = problem(dtype)
    truth = torch_float64(x, weight, bias, target)
    got = ours(x, weight, bias, target)
    assert got[0].dtype == torch.float32 and [g.dtype for g in got[1]] == [dtype] * 3
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    plain = backward(F.cross_entropy(F.linear(*leaves).flatten(0, -2), target.flatten()), leaves)
    for a, b, exact in zip([got[0], *got[1]], [plain[0], *plain[1]], [truth[0], *truth[1]], strict=True):
        assert (a.double() - exact).abs().max() <= times * (b.double() - exact).abs().max() + 1e-6


def test_large_logits_do_not_overflow() -> None:
    x, weight, bias, target = problem()
    assert_same(ours(x * 1e4, weight, bias, target), torch_float64(x * 1e4, weight, bias, target), rtol=1e-4, atol=1e-2)


def test_autocast_computes_the_layer_in_half_precision_and_the_loss_in_float32() -> None:
    x, weight, bias, target = problem()
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        loss = linear_cross_entropy(x, weight, target, bias)
    assert torch.equal(loss, linear_cross_entropy(x.bfloat16(), weight.bfloat16(), target, bias))
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_gradcheck(reduction: str) -> None:
    x, weight, bias, target = problem(torch.float64)
    leaves = [t.requires_grad_() for t in (x[0, :2].clone(), weight.clone(), bias.clone())]

    def loss(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear_cross_entropy(x, weight, target[0, :2], bias, reduction=reduction, label_smoothing=0.2)

    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_target_dtypes(dtype: torch.dtype) -> None:
    x, weight, bias, target = problem()
    target = target.clamp(min=0)
    assert torch.equal(
        linear_cross_entropy(x, weight, target.to(dtype), bias), linear_cross_entropy(x, weight, target, bias)
    )


def test_a_target_outside_the_vocabulary_is_an_error_on_cpu() -> None:
    x, weight, bias, target = problem()
    if x.device.type == "cuda":
        pytest.skip("a device assertion would end the CUDA context of this process")
    target[0, 0, 0] = 11
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        linear_cross_entropy(x, weight, target, bias)
