"""The official pipeline's sizes and resampling against values recorded from OpenCV, and its order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gss.config import AugmentationConfig
from gss.data.sources.mseg import TRAIN_SETS
from gss.data.sources.taxonomy import train_to_universal
from gss.data.transforms import (
    PAD_COLOR,
    Pad,
    PhotometricDistortion,
    RandomCrop,
    RandomFlip,
    RandomScale,
    ResizeToBox,
    augmentation,
    resize_like_opencv,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(height: int, width: int) -> torch.Tensor:
    return torch.arange(height * width, dtype=torch.uint8).reshape(height, width)


def test_resampling_is_opencvs() -> None:
    rgb = (torch.arange(5 * 7 * 3) * 37 % 256).to(torch.uint8).reshape(5, 7, 3).permute(2, 0, 1).contiguous()
    image, label = resize_like_opencv(rgb, ramp(5, 7), (3, 4))
    expected = [
        [[44, 207, 177, 115], [60, 222, 192, 130], [74, 87, 207, 145]],
        [[81, 20, 214, 152], [97, 35, 229, 167], [111, 50, 95, 182]],
        [[119, 57, 27, 189], [134, 72, 42, 204], [149, 87, 57, 113]],
    ]
    assert image.tolist() == expected
    assert label.tolist() == [[0, 1, 3, 5], [7, 8, 10, 12], [21, 22, 24, 26]]
    _, label = resize_like_opencv(rgb, ramp(5, 7), (8, 10))
    assert label[0].tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 6]
    assert label[:, 0].tolist() == [0, 0, 7, 7, 14, 21, 21, 28]


def test_random_box_scales_the_box() -> None:
    image, label = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8)
    sizes = set()
    for seed in range(60):
        factor = 0.5 + 1.5 * torch.rand((), generator=generator(seed)).item()
        resized, same = ResizeToBox((20, 200))(image, label, generator(seed))
        short = int(20 * factor)  # the box is cut to whole pixels first
        assert same.shape == resized.shape[1:] == (short, int(60 * (short / 40) + 0.5))
        sizes.add(short)
    assert min(sizes) <= 12 and max(sizes) >= 37
    with pytest.raises(ValueError, match="expected 0 < min <= max"):
        ResizeToBox((20, 200), 0.0)
    with pytest.raises(ValueError, match="box: expected at least 1 pixel"):
        ResizeToBox((1, 200))


def test_order_and_padding_of_the_pipeline() -> None:
    official = AugmentationConfig(box=(512, 2048), scale=(0.5, 2.0), crop=(512, 512))
    steps = augmentation(official).transforms
    assert [type(step) for step in steps] == [ResizeToBox, RandomCrop, RandomFlip, PhotometricDistortion, Pad]
    assert steps[0] == ResizeToBox((512, 2048), 0.5, 2.0) and steps[1].cat_max_ratio == 0.75
    # crops are padded last: always at the bottom and the right, in a colour that no distortion has touched
    image, label = torch.full((3, 30, 40), 200, dtype=torch.uint8), torch.zeros(30, 40, dtype=torch.uint8)
    padded, small = False, augmentation(replace(official, box=(30, 40), crop=(32, 48)))
    for seed in range(20):
        new_image, new_label = small(image, label, generator(seed))
        assert new_image.shape == (3, 32, 48) and new_label.shape == (32, 48)
        outside = new_label == 255
        height, width = int((~outside)[:, 0].sum()), int((~outside)[0].sum())
        assert (new_label[:height, :width] == 0).all() and int((~outside).sum()) == height * width
        for channel, level in zip(new_image, PAD_COLOR, strict=True):
            assert (channel[outside] == level).all()
        padded |= bool(outside.any())
    assert padded


def test_order_without_a_box() -> None:
    steps = augmentation(AugmentationConfig(scale=(0.75, 1.5), crop=(64, 96))).transforms
    assert steps == (RandomScale(0.75, 1.5), RandomCrop((64, 96)), RandomFlip(0.5), PhotometricDistortion())
    assert augmentation(AugmentationConfig(photometric=False, flip=0.0)).transforms[-1] == RandomFlip(0.0)


def test_crop_without_padding_keeps_small_images_small() -> None:
    label = ramp(5, 9)
    image = label.repeat(3, 1, 1)
    new_image, new_label = RandomCrop((8, 6), 1.0, pad=False)(image, label, generator())
    assert new_label.shape == (5, 6) and torch.equal(new_image[1], new_label)
    assert torch.equal(Pad((4, 4))(image, label, generator())[1], label)


def test_eleventh_window_is_taken_as_it_is() -> None:
    """A picture of one class has no mixed window: ten are refused, and the eleventh is the result."""
    label = torch.zeros(50, 1000, dtype=torch.uint8)
    image = (torch.arange(1000) // 4).to(torch.uint8).expand(3, 50, 1000)
    draws = generator(3)
    for _ in range(11):
        torch.randint(31, (), generator=draws)
        left = int(torch.randint(981, (), generator=draws).item())
    new_image, _ = RandomCrop((20, 20))(image, label, generator(3))
    assert int(new_image[0, 0, 0]) == left // 4


def test_mapping_on_reading_keeps_crops_the_same() -> None:
    """A crop counts how often each id occurs, so ids must stay apart when they become universal."""
    for name in TRAIN_SETS:
        table = train_to_universal(name)
        ids = table[(table != 254) & (table != 255)].tolist()
        assert len(ids) == len(set(ids)) > 0
