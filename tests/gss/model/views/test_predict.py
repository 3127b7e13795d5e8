"""Views of an image are put together: sizes, mirroring, means of probabilities, and where one pass is enough."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config import InferenceConfig
from gss.io.resize import resize_images
from gss.model.views.predict import needs_scores, predict_labels, predict_scores
from gsskernels import maskige_decode

IMAGES = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def pixel_scores(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Three classes, scored by the three channels."""
    return images.float() / 64


def ramp_scores(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Two classes that only look at where a column stands, so that a mirrored view scores otherwise."""
    columns = torch.arange(size[1]).float().expand(len(images), 1, *size)
    return torch.cat([columns, torch.zeros_like(columns)], 1)


def test_one_view_is_the_softmax_of_its_scores() -> None:
    expected = pixel_scores(IMAGES, (16, 24)).softmax(1)
    found = predict_scores(pixel_scores, IMAGES, InferenceConfig())
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    slid = InferenceConfig(mode="slide", crop=(8, 8), stride=(4, 4), batch=3)
    torch.testing.assert_close(predict_scores(pixel_scores, IMAGES, slid), expected)


def test_scores_are_resized_before_the_softmax() -> None:
    size = (23, 50)
    logits = F.interpolate(pixel_scores(IMAGES, (16, 24)), size=size, mode="bilinear", align_corners=False)
    labels, margin = predict_labels(pixel_scores, IMAGES, InferenceConfig(), size)
    assert torch.equal(labels.long(), logits.softmax(1).argmax(1))
    best = logits.softmax(1).topk(2, 1).values
    assert torch.equal(margin, best[:, 0] - best[:, 1])


def test_a_mirrored_view_is_turned_back() -> None:
    found = predict_scores(pixel_scores, IMAGES, InferenceConfig(flip=True))
    torch.testing.assert_close(found, pixel_scores(IMAGES, (16, 24)).softmax(1))
    found = predict_scores(ramp_scores, IMAGES, InferenceConfig(flip=True))
    left = torch.arange(24).float().sigmoid()
    torch.testing.assert_close(found[0, 0], ((left + left.flip(0)) / 2).expand(16, 24))


def test_views_of_several_scales_are_averaged_at_the_size_of_the_image() -> None:
    seen = []

    def score(images: Tensor, size: tuple[int, int]) -> Tensor:
        seen.append(images)
        return pixel_scores(images, size)

    config = InferenceConfig(scales=(0.5, 1.0), flip=True, box=(8, 32))
    found = predict_scores(score, IMAGES, config)
    # The box holds the image at half its size, so the scales are a quarter and a half.
    quarter, half = resize_images(IMAGES, (4, 6)), resize_images(IMAGES, (8, 12))
    padded = F.pad(quarter.float(), (0, 2, 0, 0), mode="replicate").byte()
    mirrored = F.pad(quarter.flip(-1).float(), (0, 2, 0, 0), mode="replicate").byte()
    for got, expected in zip(seen, (padded, mirrored, half, half.flip(-1)), strict=True):
        assert torch.equal(got, expected)
    single = [
        F.interpolate(pixel_scores(view, (0, 0)), size=(16, 24), mode="bilinear", align_corners=False).softmax(1)
        for view in (quarter, half)
    ]
    torch.testing.assert_close(found, (single[0] + single[1]) / 2)


def test_labels_of_one_pass_are_those_of_the_fused_decode() -> None:
    generator = torch.Generator().manual_seed(0)
    palette = torch.randint(0, 256, (5, 3), dtype=torch.uint8, generator=generator)

    def votes(images: Tensor, size: tuple[int, int]) -> Tensor:
        """Shares of the classes among the pixels of a maskige of twice the image's size."""
        maskige = images.repeat_interleave(2, -1).repeat_interleave(2, -2).roll((1, 1), (-2, -1))
        planes = F.one_hot(maskige_decode(maskige, palette).long(), 5).movedim(-1, 1).float()
        return F.interpolate(planes, size=size, mode="bilinear", align_corners=False)

    config = InferenceConfig()
    assert not needs_scores(config, (16, 24))
    maskige = IMAGES.repeat_interleave(2, -1).repeat_interleave(2, -2).roll((1, 1), (-2, -1))
    expected = maskige_decode(maskige, palette, size=(16, 24))
    found = predict_labels(votes, IMAGES, config).labels
    assert found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({}, (481, 640), False),
        ({"flip": True}, (481, 640), True),
        ({"scales": (0.5,)}, (481, 640), True),
        ({"scales": (1.0, 1.0)}, (481, 640), True),
        ({"mode": "slide"}, (1024, 2048), True),
        ({"mode": "slide"}, (768, 500), False),
        ({"box": (512, 2048)}, (480, 640), True),
        ({"box": (512, 2048)}, (512, 683), False),
        ({"box": (1024, 2048), "keep_ratio": False}, (1024, 2048), False),
        ({"box": (1024, 2048), "keep_ratio": False}, (1024, 2000), True),
    ],
)
def test_one_pass_at_the_own_size_needs_no_scores(settings: dict, size: tuple[int, int], expected: bool) -> None:
    assert needs_scores(InferenceConfig(**settings), size) is expected


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images: expected a tensor \(B, 3, H, W\) of at least one pixel, got \(3, 4"):
        predict_scores(pixel_scores, IMAGES[0, :, :4], InferenceConfig())
    with pytest.raises(ValueError, match=r"scales\n.*at least 1 item"):
        predict_scores(pixel_scores, IMAGES, InferenceConfig(scales=()))
