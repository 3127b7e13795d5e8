"""linear_cross_entropy on every instruction set, values and gradients, compared with float64."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gsskernels import linear_cross_entropy
from gsskernels.native import cross_entropy as native
from gsskernels.reference.cross_entropy import CrossEntropyOptions
from tests.gsskernels.inputs import INF, seeded


def make(rows: int, codes: int, dims: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(rows, dims, generator=seeded(rows)).to(dtype)
    weight = (torch.randn(codes, dims, generator=seeded(codes)) / max(1, dims) ** 0.5).to(dtype)
    bias = torch.randn(codes, generator=seeded(dims))
    target = torch.randint(0, codes, (rows,), generator=seeded(1))
    return x, weight, bias, target


def run(
    x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, ours: bool, **options: object
) -> tuple[Tensor, ...]:
    """The loss and its gradients (for "none" weighted by row), by gsskernels or by PyTorch in the dtype of x."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    if ours:
        loss = linear_cross_entropy(*leaves[:2], target, *leaves[2:], backend="native", **options)  # type: ignore[arg-type]
    else:
        loss = F.cross_entropy(F.linear(*leaves), target, **options)  # type: ignore[arg-type]
    rows = torch.arange(1, loss.numel() + 1, dtype=loss.dtype).view(loss.shape) / loss.numel()
    return loss.detach(), *torch.autograd.grad((loss * rows).sum(), leaves)


def assert_as_good_as_torch(x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, **options: object) -> None:
    """Errors against float64 are at most twice those of PyTorch, plus a few roundings of the largest number."""
    wide = [None if t is None else t.double() for t in (x, weight, bias)]
    truth = run(*wide, target, False, **options)  # type: ignore[arg-type]
    ours, theirs = run(x, weight, bias, target, True, **options), run(x, weight, bias, target, False, **options)
    for got, other, wanted in zip(ours, theirs, truth, strict=True):
        assert got.shape == wanted.shape
        eps = torch.finfo(got.dtype).eps
        scale = wanted.abs().max().clamp(min=1e-30) if wanted.numel() else torch.ones(())
        bound = 2 * (other.double() - wanted).abs().max() + 8 * eps * scale if wanted.numel() else 0
        assert bool(((got.double() - wanted).abs() <= bound).all())


# N: around tiles of 8, 16 and 32 rows and groups of four tiles. V: around groups of 6 and 12 codes and blocks of 384.
# C: none, one, odd, around tiles of features, more than the 128 that are summed in registers.
@pytest.mark.parametrize("rows", [1, 7, 33, 131])
@pytest.mark.parametrize("codes", [1, 2, 11, 13, 385])
@pytest.mark.parametrize("dims", [0, 1, 17, 32, 130, 300])
def test_awkward_sizes(isa: str, rows: int, codes: int, dims: int) -> None:
    x, weight, bias, target = make(rows, codes, dims)
    assert_as_good_as_torch(x, weight, bias, target)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, 3])
def test_options(isa: str, reduction: str, smoothing: float, with_bias: bool, ignore_index: int) -> None:
    x, weight, bias, target = make(90, 50, 20)
    target[::7] = ignore_index
    options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignore_index}
    assert_as_good_as_torch(x, weight, bias if with_bias else None, target, **options)


def test_many_chunks(isa: str) -> None:
    """More rows than one chunk of G holds, so that weight gradients are added over chunks."""
    x, weight, bias, target = make(1500, 4000, 16)
    target[:900:2] = -100
    assert_as_good_as_torch(x, weight, bias, target, label_smoothing=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(isa: str, dtype: torch.dtype) -> None:
    x, weight, bias, target = make(70, 60, 40, dtype)
    assert_as_good_as_torch(x, weight, bias.to(dtype), target)
    ours = linear_cross_entropy(x, weight, target, bias, backend="native")
    wanted = F.cross_entropy(F.linear(x.double(), weight.double(), bias.double()), target)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-6, atol=1e-6)  # products of the halves' own values


@pytest.mark.parametrize("wanted", [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
def test_only_the_gradients_asked_for(isa: str, wanted: tuple[int, int, int]) -> None:
    x, weight, bias, target = make(40, 30, 9)
    flags = tuple(map(bool, wanted))
    options = [CrossEntropyOptions(1, -100, 0.1, "sum", gradients) for gradients in ((True, True, True), flags)]
    everything, some = (native.linear_cross_entropy(x, weight, target, bias, o) for o in options)
    for flag, a, b in zip(flags, some[2:], everything[2:], strict=True):
        assert (a is None) == (not flag) and (a is None or torch.equal(a, b))
    torch.testing.assert_close(some[0], everything[0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_backward_alone_is_the_gradient_of_the_forward_pass(isa: str, reduction: str) -> None:
    x, weight, bias, target = make(80, 45, 33)
    target[::9] = -100
    grad = torch.rand(80, generator=seeded()) if reduction == "none" else torch.tensor(0.7)
    options = CrossEntropyOptions(1, -100, 0.1, reduction)
    lse = native.linear_cross_entropy(x, weight, target, bias, options)[1]
    wanted = replace(options, gradients=(True, True, True))
    found = native.linear_cross_entropy_backward(grad, x, weight, target, bias, lse, wanted)
    leaves = [t.clone().double().requires_grad_() for t in (x, weight, bias)]
    loss = F.cross_entropy(F.linear(*leaves), target, label_smoothing=0.1, reduction=reduction)
    for got, truth in zip(found, torch.autograd.grad((loss * grad.double()).sum(), leaves), strict=True):
        torch.testing.assert_close(got.double(), truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_where_the_features_are(isa: str, dim: int) -> None:
    x, weight, bias, target = make(35 * 6, 19, 11)
    moved = x.view(35, 6, 11).movedim(-1, dim)
    target = target.view(35, 6)
    wanted = linear_cross_entropy(x.view(35, 6, 11), weight, target, bias, backend="native")
    for layout in (moved, moved.contiguous(), moved.transpose(0, 2).contiguous().transpose(0, 2)):
        leaf = layout.detach().requires_grad_()
        loss = linear_cross_entropy(leaf, weight, target, bias, dim=dim, backend="native")
        loss.backward()
        assert torch.equal(loss, wanted) and leaf.grad is not None
        reference = x.view(35, 6, 11).clone().requires_grad_()
        linear_cross_entropy(reference, weight, target, bias, backend="native").backward()
        assert reference.grad is not None and torch.equal(leaf.grad.movedim(dim, -1), reference.grad)


def test_forbidden_and_large_logits(isa: str) -> None:
    x, weight, bias, target = make(40, 30, 8)
    bias[7] = -INF
    target[target == 7] = 8
    assert_as_good_as_torch(x, weight, bias, target)
    # Logits of 1e4 have roundings of 1e-3, and so have their exponentials, on every instruction set.
    truth = run((1e4 * x).double(), weight.double(), bias.double(), target, False)
    for got, wanted in zip(run(1e4 * x, weight, bias, target, True), truth, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-6, atol=4e-3 * float(wanted.abs().max()))
    assert linear_cross_entropy(x, weight, torch.full((40,), 7), bias, backend="native") == INF
    smoothed = linear_cross_entropy(x, weight, target, bias, label_smoothing=0.1, backend="native")
    assert smoothed == F.cross_entropy(F.linear(x, weight, bias), target, label_smoothing=0.1) == INF


@pytest.mark.parametrize("value", [math.nan, INF])
def test_nan_and_infinity_stay_in_their_rows(isa: str, value: float) -> None:
    x, weight, bias, target = make(40, 30, 8)
    x[5, 2] = value
    got = linear_cross_entropy(x, weight, target, bias, reduction="none", backend="native")
    wanted = F.cross_entropy(F.linear(x, weight, bias), target, reduction="none")
    assert not math.isfinite(got[5]) and not math.isfinite(wanted[5])
    keep = torch.arange(40) != 5
    torch.testing.assert_close(got[keep], wanted[keep])


def test_ignored_rows_may_hold_anything(isa: str) -> None:
    x, weight, bias, target = make(40, 30, 8)
    target[10:20] = -100
    dirty = x.clone()
    dirty[10:20] = math.nan
    for got, wanted in zip(run(dirty, weight, bias, target, True), run(x, weight, bias, target, True), strict=True):
        assert torch.equal(got, wanted)


def test_a_target_out_of_bounds_is_named(isa: str) -> None:
    x, weight, bias, target = make(40, 30, 8)
    for wrong in (30, -1, 10**12):
        target[17] = wrong
        with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds"):
            linear_cross_entropy(x, weight, target, bias, backend="native")
