import pytest
import torch
from torch.nn import functional as F

from gss.config import InverseConfig
from gss.model.inverse import Inverse


@pytest.fixture(params=["convolution", "window"])
def inverse(request: pytest.FixtureRequest) -> Inverse:
    torch.manual_seed(0)
    return Inverse(5, InverseConfig(type=request.param, channels=8, depth=2, heads=2, window=3)).eval()


MASKIGE = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(1))


def test_sizes_are_those_of_the_paper() -> None:
    """Counted on the official modules (spec paragraph 2.6): GSS-FT-W for Cityscapes, ADE20K and MSeg."""
    for classes, depth, expected in ((19, 1, 136_503), (150, 2, 286_558), (194, 2, 292_234)):
        inverse = Inverse(classes, InverseConfig(type="window", depth=depth))
        assert sum(p.numel() for p in inverse.parameters()) == expected


def test_there_is_nothing_to_learn_for_the_nearest_colour() -> None:
    with pytest.raises(ValueError, match="inverse.type: expected 'convolution' or 'window', got 'nearest'"):
        Inverse(5, InverseConfig())


@torch.no_grad()
@pytest.mark.parametrize("size", [(10, 14), (5, 7), (9, 20)])
def test_resized_features_give_resized_logits(inverse: Inverse, size: tuple[int, int]) -> None:
    logits = inverse(MASKIGE)
    assert logits.shape == (2, 5, 10, 14)
    expected = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    assert torch.allclose(inverse.scores(MASKIGE, size), expected, atol=1e-5)


@torch.no_grad()
def test_labels_are_the_best_class_and_the_margin_its_lead(inverse: Inverse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gss.model.inverse.PIXELS_AT_A_TIME", 9)
    probability = inverse.scores(MASKIGE, (5, 7)).softmax(1)
    best = probability.topk(2, 1).values
    decoded = inverse.decode(MASKIGE, (5, 7))
    assert decoded.labels.dtype == torch.uint8
    assert torch.equal(decoded.labels.long(), probability.argmax(1))
    assert torch.allclose(decoded.margin, best[:, 0] - best[:, 1], atol=1e-5)


def test_loss_is_the_cross_entropy_of_resized_logits(inverse: Inverse) -> None:
    labels = torch.randint(5, (2, 5, 7))
    labels[0, :2] = 255
    weight = torch.tensor([1.0, 2, 1, 0.5, 1])
    logits = F.interpolate(inverse(MASKIGE), size=(5, 7), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(logits, labels, weight, ignore_index=255)
    wanted = torch.autograd.grad(expected, list(inverse.parameters()))
    loss = inverse.loss(MASKIGE, labels, weight)
    got = torch.autograd.grad(loss, list(inverse.parameters()))
    assert torch.allclose(loss, expected, atol=1e-5)
    for ours, theirs in zip(got, wanted, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert inverse.loss(MASKIGE, torch.full_like(labels, 255), weight) == 0
