import pytest
import torch
from torch.nn import functional as F

from gss.training import losses
from gss.training.losses import upsampled_cross_entropy


@pytest.mark.parametrize("size", [(10, 14), (5, 7), (13, 9), (4, 6), (1, 1), (40, 6)])
@pytest.mark.parametrize("budget", [1, 7 * 3 * 14, 1 << 22])
def test_bands_add_up_to_the_upsampled_formula(
    size: tuple[int, int], budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LOGITS_AT_A_TIME", budget)
    assert losses.LOGITS_AT_A_TIME_ON_GPU > losses.LOGITS_AT_A_TIME
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 7, 5, 7, generator=generator, requires_grad=True)
    labels = torch.randint(7, (2, *size), generator=generator).to(torch.uint8)
    labels[1, size[0] // 2 :] = 255
    weight = torch.rand(7, generator=generator) + 0.5
    upsampled = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    expected = F.cross_entropy(upsampled, labels.long(), weight, ignore_index=255)
    (wanted,) = torch.autograd.grad(3 * expected, logits)
    loss, classes = upsampled_cross_entropy(logits, labels, weight)
    (got,) = torch.autograd.grad(3 * loss, logits)
    assert torch.allclose(loss, expected, atol=1e-6)
    assert torch.allclose(got, wanted, atol=1e-6)
    assert torch.equal(classes, upsampled.argmax(1))


def test_without_a_label_the_loss_is_zero_and_so_is_its_gradient() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss, _ = upsampled_cross_entropy(logits, torch.full((1, 4, 4), 255), torch.ones(3))
    loss.backward()
    assert loss == 0 and torch.equal(logits.grad, torch.zeros(1, 3, 2, 2))


def test_nothing_is_computed_twice_where_no_gradient_is_wanted() -> None:
    loss, _ = upsampled_cross_entropy(torch.randn(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(3))
    assert not loss.requires_grad
