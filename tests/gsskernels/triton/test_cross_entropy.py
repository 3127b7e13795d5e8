"""Both implementations of the loss, fused tiles and chunks of logits, forward and backward."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gsskernels import linear_cross_entropy
from gsskernels.triton import cross_entropy, cross_entropy_rows, launch, plan
from gsskernels.triton.plan import SM_80, SM_90
from tests.gsskernels.inputs import INF, seeded


@pytest.fixture(params=["fused", "chunks"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cross_entropy, "fuses_cross_entropy", lambda *_: request.param == "fused")
    return request.param


@pytest.fixture(params=[torch.float32, torch.float16, torch.bfloat16])
def dtype(request: pytest.FixtureRequest, device: torch.device) -> torch.dtype:
    if request.param is torch.bfloat16 and device.type == "cpu":
        pytest.skip("Triton's interpreter multiplies bfloat16 wrongly; a GPU runs this test")
    return request.param


def made(device: torch.device, dtype: torch.dtype, rows: int, codes: int, features: int) -> tuple[Tensor, ...]:
    g = seeded(rows)
    x, weight, bias = (torch.randn(*s, generator=g) for s in ((rows, features), (codes, features), (codes,)))
    target = torch.randint(0, codes, (rows,), generator=g)
    target[1::4] = -100
    return tuple(t.to(device, dtype) for t in (x, weight, bias)) + (target.to(device),)


def losses(
    x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, ours: bool, smoothing: float, reduction: str
) -> tuple[Tensor, ...]:
    """Loss and gradients, by gsskernels or by PyTorch in the dtype of the operands."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    named = {"label_smoothing": smoothing, "reduction": reduction}
    if ours:
        loss = linear_cross_entropy(leaves[0], leaves[1], target, *leaves[2:], **named)
    else:
        loss = F.cross_entropy(F.linear(*leaves), target, **named)
    upstream = torch.linspace(-1, 2, loss.numel(), dtype=loss.dtype, device=loss.device).view(loss.shape)
    return loss.detach(), *torch.autograd.grad((loss * upstream).sum() if loss.dim() else 3 * loss, leaves)


def assert_as_good_as_torch(*operands: Tensor | None, smoothing: float, reduction: str) -> None:
    """Errors against float64 are at most twice those of PyTorch in the same dtype, plus rounding of the dtype."""
    truth = losses(
        *(t if t is None or not t.is_floating_point() else t.double() for t in operands), False, smoothing, reduction
    )
    theirs = losses(*operands, False, smoothing, reduction)
    for got, baseline, exact in zip(losses(*operands, True, smoothing, reduction), theirs, truth, strict=True):
        allowed = 2 * (baseline.double() - exact).abs().max() + 4 * torch.finfo(got.dtype).eps * exact.abs().max()
        assert got.shape == exact.shape and (got.double() - exact).abs().max() <= allowed


@pytest.mark.parametrize(("rows", "codes", "features"), [(7, 5, 3), (40, 130, 17)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("smoothing", "biased"), [(0.0, True), (0.2, False)])
def test_values_and_gradients(
    device: torch.device,
    dtype: torch.dtype,
    rows: int,
    codes: int,
    features: int,
    reduction: str,
    smoothing: float,
    biased: bool,
) -> None:
    x, weight, bias, target = made(device, dtype, rows, codes, features)
    assert_as_good_as_torch(x, weight, bias if biased else None, target, smoothing=smoothing, reduction=reduction)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("architecture", [SM_80, SM_90], ids=["pointers", "descriptors"])
def test_losses_without_gradients(
    device: torch.device, dtype: torch.dtype, road: str, smoothing: float, architecture: plan.Architecture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(launch, "stand_in", architecture)
    x, weight, bias, target = made(device, dtype, 45, 150, 20)
    got = linear_cross_entropy(x, weight, target, bias, label_smoothing=smoothing, reduction="none")
    exact = F.cross_entropy(
        F.linear(x.double(), weight.double(), bias.double()), target, label_smoothing=smoothing, reduction="none"
    )
    theirs = F.cross_entropy(F.linear(x, weight, bias), target, label_smoothing=smoothing, reduction="none")
    assert (got.double() - exact).abs().max() <= 2 * (theirs.double() - exact).abs().max() + 1e-5


def test_chunks_and_long_rows_do_not_show(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias, target = made(device, torch.float32, 50, 130, 12)
    whole = losses(x, weight, bias, target, True, 0.1, "mean")
    monkeypatch.setattr(plan, "CHUNK_BYTES", 4 * 130 * 16)
    monkeypatch.setattr(cross_entropy_rows, "MOST_RESIDENT", 32)
    monkeypatch.setattr(cross_entropy_rows, "BLOCK", 16)
    for got, wanted in zip(losses(x, weight, bias, target, True, 0.1, "mean"), whole, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)


def test_chunks_of_logits_are_even_and_bounded() -> None:
    assert plan.chunk_rows(73728, 8192, 2) == 4096 and plan.chunk_rows(9216, 8192, 2) == 3072
    assert plan.chunk_rows(100, 8192, 2) == 100 and plan.chunk_rows(5, 2**28, 4) == 1
    for rows in (4097, 8191, 10000):
        assert plan.chunk_rows(rows, 8192, 4) * 8192 * 4 <= plan.CHUNK_BYTES


def test_features_anywhere(device: torch.device) -> None:
    x, weight, _, target = made(device, torch.float32, 3 * 45, 130, 40)
    maps, target = x.view(3, 5, 9, 40).permute(0, 3, 1, 2), target.view(3, 5, 9)
    for layout in (maps, maps.contiguous(), maps.transpose(2, 3).contiguous().transpose(2, 3)):
        leaves = layout.detach().requires_grad_(), weight.clone().requires_grad_()
        loss = linear_cross_entropy(leaves[0], leaves[1], target, dim=1)
        wanted = losses(x, weight, None, target.flatten(), False, 0.0, "mean")
        torch.testing.assert_close(loss.detach(), wanted[0])
        dx, dw = torch.autograd.grad(3 * loss, leaves)
        torch.testing.assert_close(dx.permute(0, 2, 3, 1).reshape(-1, 40), wanted[1], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(dw, wanted[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 8, 8), (2, 4, 4, 4)])
def test_features_first_in_maps_as_wide_as_deep(device: torch.device, shape: tuple[int, ...]) -> None:
    """Batches of few rows are copied to one; the gradient must get the layout of x, although the shapes are equal."""
    g = seeded()
    x, weight = torch.randn(shape, generator=g).to(device), torch.randn(5, shape[1], generator=g).to(device)
    target = torch.randint(0, 5, (shape[0], *shape[2:]), generator=g).to(device)
    for reduction in ("mean", "none"):
        ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        linear_cross_entropy(ours, weight, target, dim=1, reduction=reduction).sum().backward()
        F.cross_entropy(
            F.linear(theirs.movedim(1, -1), weight).movedim(-1, 1), target, reduction=reduction
        ).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_targets_of_narrow_dtypes(device: torch.device) -> None:
    """256 codes and an ignore index of -100 do not fit uint8, whose ids are all valid."""
    x, weight, bias, target = made(device, torch.float32, 20, 256, 4)
    target = torch.where(target < 0, 156, target)  # what -100 would wrap to
    for narrow in (torch.uint8, torch.int16, torch.int64):
        got = linear_cross_entropy(x, weight, target.to(narrow), bias)
        torch.testing.assert_close(got, F.cross_entropy(F.linear(x, weight, bias), target))


def test_rows_to_ignore_send_zeros_whatever_their_logits(device: torch.device) -> None:
    x, weight, bias, target = made(device, torch.float32, 20, 9, 4)
    x[1] = math.nan  # its target is ignored
    loss, dx, dw, db = losses(x, weight, bias, target, True, 0.0, "mean")
    assert loss.isfinite() and bool((dx[1] == 0).all()) and bool(dx.isfinite().all())
    assert bool(db.isfinite().all())
    every = torch.full_like(target, -100)
    assert losses(x, weight, bias, every, True, 0.0, "sum")[0] == 0
    for dtype in (torch.float32, torch.float16):
        half = [t.to(dtype).nan_to_num() for t in (x, weight, bias)]
        loss, *gradients = losses(*half, every, True, 0.0, "mean")
        assert loss.isnan() and all(bool((g == 0).all()) for g in gradients)


def test_forbidden_codes_and_nothing_at_all(device: torch.device, road: str) -> None:
    x, weight, bias, target = made(device, torch.float32, 20, 9, 4)
    bias[7] = -INF
    target[target == 7] = 8
    got = linear_cross_entropy(x, weight, target, bias)
    torch.testing.assert_close(got, F.cross_entropy(F.linear(x, weight, bias), target))
    assert linear_cross_entropy(x, weight, torch.full_like(target, 7), bias) == INF
    assert linear_cross_entropy(x[:0], weight, target[:0], bias, reduction="sum") == 0
    assert linear_cross_entropy(x[:, :0], weight[:, :0], target, bias).isfinite()


def test_a_loss_scale_rescues_small_gradients_in_float16(device: torch.device) -> None:
    """With 2^9 rows and weights of 2^-9 the unscaled gradients are below the normal numbers of float16."""
    x, weight, _, target = made(device, torch.float16, 512, 8, 4)
    weight = weight * 2.0**-9
    leaves = [t.clone().requires_grad_() for t in (x, weight)]
    found = torch.autograd.grad(2.0**12 * linear_cross_entropy(*leaves, target), leaves)
    wide = [t.double().requires_grad_() for t in (x, weight)]
    exact = torch.autograd.grad(2.0**12 * F.cross_entropy(F.linear(*wide), target), wide)
    for got, wanted in zip(found, exact, strict=True):
        assert (got.double() - wanted).abs().max() < 2e-3 * wanted.abs().max()


def test_targets_out_of_bounds_are_an_error(device: torch.device) -> None:
    if device.type == "cuda":
        pytest.skip("a device assertion ends the process's CUDA context")
    x, weight, _, _ = made(device, torch.float32, 3, 5, 4)
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        linear_cross_entropy(x, weight, torch.tensor([0, 5, 1]))
