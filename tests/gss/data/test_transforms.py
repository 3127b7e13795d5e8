"""Augmentation: image and label stay aligned, values follow the definitions, random draws can be repeated."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from gss.config import AugmentationConfig
from gss.data.sources.mseg import TRAIN_SETS
from gss.data.sources.taxonomy import train_to_universal
from gss.data.transforms import (
    MEAN_COLOR,
    Augmentation,
    color_jitter,
    pad_to,
    random_box,
    random_crop,
    random_flip,
    random_scale,
    resize,
)
from gss.io.resize import source_corners

OURS = AugmentationConfig(scale=(0.75, 1.5), crop=(64, 80), photometric=False)
OFFICIAL = AugmentationConfig(box=(30, 40), scale=(0.5, 2.0), crop=(32, 48))
NO_CHANGE = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0, "chance": 1.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, high: int = 256) -> torch.Tensor:
    return torch.randint(0, high, shape, dtype=torch.uint8, generator=generator())


def aligned(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose red channel equals the label: a smooth ramp, which resizing keeps close."""
    label = ((torch.arange(height)[:, None] * 2 + torch.arange(width)[None, :]) // 2).clamp(max=250).to(torch.uint8)
    return torch.stack((label, 255 - label, torch.full_like(label, 7))), label


def test_image_and_label_stay_aligned_and_the_input_unchanged() -> None:
    image, label = aligned(90, 120)
    before = image.clone(), label.clone()
    for seed in range(20):
        new_image, new_label = Augmentation(OURS)(image, label, generator(seed))
        assert new_image.shape == (3, 64, 80) and new_label.shape == (64, 80)
        difference = (new_image[0].int() - new_label.int()).abs()[new_label != 255]
        assert difference.max() <= 2  # bilinear against nearest on a ramp of at most one level a pixel
    assert torch.equal(image, before[0]) and torch.equal(label, before[1])


@pytest.mark.parametrize("config", [replace(OURS, photometric=True), OFFICIAL])
def test_same_generator_same_result(config: AugmentationConfig) -> None:
    image, label = noise(3, 50, 60), noise(50, 60, high=5)
    first, again, other = (Augmentation(config)(image, label, generator(seed)) for seed in (4, 4, 5))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_the_official_pipeline_pads_last_in_the_mean_colour() -> None:
    """Padding is at the bottom and the right, so it is not flipped, and its colour has no jitter."""
    image, label = torch.full((3, 30, 40), 200, dtype=torch.uint8), torch.zeros(30, 40, dtype=torch.uint8)
    padded = False
    for seed in range(20):
        new_image, new_label = Augmentation(OFFICIAL)(image, label, generator(seed))
        assert new_image.shape == (3, 32, 48) and new_label.shape == (32, 48)
        outside = new_label == 255
        height, width = int((~outside)[:, 0].sum()), int((~outside)[0].sum())
        assert (new_label[:height, :width] == 0).all() and int((~outside).sum()) == height * width
        for channel, level in zip(new_image, MEAN_COLOR, strict=True):
            assert (channel[outside] == level).all()
        padded |= bool(outside.any())
    assert padded


def test_our_pipeline_pads_with_black_before_the_crop() -> None:
    image, label = noise(3, 10, 10) // 2 + 100, noise(10, 10, high=3)
    config = replace(OURS, scale=(1.0, 1.0), crop=(16, 12), flip=0.0)
    new_image, new_label = Augmentation(config)(image, label, generator())
    assert torch.equal(new_label[:10, :10], label) and torch.equal(new_image[:, :10, :10], image)
    assert (new_label[10:] == 255).all() and (new_label[:, 10:] == 255).all()
    assert (new_image[:, 10:] == 0).all() and (new_image[:, :, 10:] == 0).all()


def test_resize_is_antialiased_bilinear_and_nearest() -> None:
    image, label = noise(3, 30, 40), aligned(30, 40)[1]
    new_image, new_label = resize(image, label, (15, 61))
    exact = F.interpolate(image[None].float(), size=(15, 61), mode="bilinear", antialias=True)[0]
    assert (new_image.float() - exact).abs().max() <= 1.0
    expected = F.interpolate(label[None, None].float(), size=(15, 61), mode="nearest-exact")[0, 0]
    assert torch.equal(new_label, expected.to(torch.uint8))


def test_random_scale_covers_its_range() -> None:
    image, label = aligned(100, 50)
    heights = [random_scale(image, label, (0.25, 1.0), generator(seed))[1].shape[0] for seed in range(50)]
    assert min(heights) in range(25, 35) and max(heights) in range(86, 101)


def test_random_box_scales_the_box() -> None:
    image, label = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8)
    sizes = set()
    for seed in range(60):
        factor = 0.5 + 1.5 * torch.rand((), generator=generator(seed)).item()
        resized, same = random_box(image, label, (20, 200), (0.5, 2.0), generator(seed))
        short = int(20 * factor)  # the box is cut to whole pixels first
        assert same.shape == resized.shape[1:] == (short, int(60 * (short / 40) + 0.5))
        sizes.add(short)
    assert min(sizes) <= 12 and max(sizes) >= 37


def test_random_box_resamples_as_opencv() -> None:
    """Image and label values were recorded from OpenCV."""
    rgb = (torch.arange(5 * 7 * 3) * 37 % 256).to(torch.uint8).reshape(5, 7, 3).permute(2, 0, 1).contiguous()
    label = torch.arange(35, dtype=torch.uint8).reshape(5, 7)
    image, small = random_box(rgb, label, (3, 4), (1.0, 1.0), generator())
    assert image.tolist() == [
        [[44, 207, 177, 115], [60, 222, 192, 130], [74, 87, 207, 145]],
        [[81, 20, 214, 152], [97, 35, 229, 167], [111, 50, 95, 182]],
        [[119, 57, 27, 189], [134, 72, 42, 204], [149, 87, 57, 113]],
    ]
    assert small.tolist() == [[0, 1, 3, 5], [7, 8, 10, 12], [21, 22, 24, 26]]
    assert source_corners(7, 10).tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 6]
    assert source_corners(5, 8).tolist() == [0, 0, 1, 1, 2, 3, 3, 4]


def test_crop_prefers_windows_of_several_classes() -> None:
    label = torch.zeros(40, 80, dtype=torch.uint8)
    label[:, 70:] = 1
    image = label.repeat(3, 1, 1)
    shares = (0.75, 1.0)
    crops = [random_crop(image, label, (20, 20), generator(s), share)[1] for share in shares for s in range(40)]
    mixed = [float(crop.float().mean()) > 0.25 for crop in crops]
    assert sum(mixed[:40]) > 2 * sum(mixed[40:])


def test_crop_reaches_every_position() -> None:
    image, label = aligned(6, 7)
    corners = {random_crop(image, label, (5, 5), generator(seed), 1.0)[1][0, 0].item() for seed in range(60)}
    assert corners == {label[i, j].item() for i in range(2) for j in range(3)}


def test_crop_of_a_small_image_is_the_whole_side() -> None:
    image, label = aligned(5, 9)
    new_image, new_label = random_crop(image, label, (8, 6), generator(), 1.0)
    assert new_label.shape == (5, 6) and torch.equal(new_image[0], new_label)
    assert pad_to(image, label, (4, 4))[1] is label


def test_eleventh_window_is_taken_as_it_is() -> None:
    """No window of a picture of one class has two classes: ten are refused, and the eleventh is the result."""
    label = torch.zeros(50, 1000, dtype=torch.uint8)
    image = (torch.arange(1000) // 4).to(torch.uint8).expand(3, 50, 1000)
    draws = generator(3)
    for _ in range(11):
        torch.randint(31, (), generator=draws)
        left = int(torch.randint(981, (), generator=draws).item())
    new_image, _ = random_crop(image, label, (20, 20), generator(3))
    assert int(new_image[0, 0, 0]) == left // 4


def test_flip() -> None:
    image, label = aligned(4, 6)
    new_image, new_label = random_flip(image, label, 1.0, generator())
    assert torch.equal(new_label, label.flip(1)) and torch.equal(new_image, image.flip(2))
    assert random_flip(image, label, 0.0, generator())[1] is label


def test_jitter_without_chance_changes_nothing() -> None:
    image = noise(3, 4, 4)
    assert color_jitter(image, generator(), chance=0.0) is image


def test_jitter_of_brightness_and_contrast_is_affine() -> None:
    image = torch.arange(60, 180, dtype=torch.uint8).repeat(3, 1, 1)
    shifts = set()
    for seed in range(10):
        difference = color_jitter(image, generator(seed), **NO_CHANGE | {"brightness": 32.0}).int() - image.int()
        assert difference.max() - difference.min() <= 1
        shifts.add(int(difference.float().mean()))
    assert len(shifts) > 5 and max(map(abs, shifts)) <= 32
    changed = color_jitter(image, generator(), **NO_CHANGE | {"contrast": (1.4, 1.4)}).float()
    assert torch.allclose(changed, (image.float() * 1.4).clamp(max=255), atol=0.6)


def test_jitter_of_saturation_scales_the_chroma() -> None:
    image = torch.tensor([150, 110, 100], dtype=torch.uint8).reshape(3, 1, 1)
    grey = color_jitter(image, generator(), **NO_CHANGE | {"saturation": (0.0, 0.0)}).flatten().tolist()
    assert max(grey) - min(grey) <= 1


def test_jitter_turns_the_hue_of_colours_but_not_of_grey() -> None:
    red = torch.tensor([150, 90, 90], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 2, 2).contiguous()
    grey = torch.full((3, 4, 5), 100, dtype=torch.uint8)
    turns = []
    for seed in range(30):
        r, g, b = (color_jitter(red, generator(seed), **NO_CHANGE | {"hue": 36.0})[:, 0, 0].double() / 255).tolist()
        turns.append((colorsys.rgb_to_hsv(r, g, b)[0] * 360 + 180) % 360 - 180)
        assert (color_jitter(grey, generator(seed), **NO_CHANGE | {"hue": 36.0}).int() - 100).abs().max() <= 1
    assert all(abs(turn) < 60 for turn in turns)
    assert min(turns) < -10 and max(turns) > 10


@pytest.mark.parametrize("name", TRAIN_SETS)
def test_mapping_labels_on_reading_keeps_crops_the_same(name: str) -> None:
    """A crop counts how often each id occurs, so ids must stay distinct when they become universal."""
    table = train_to_universal(name)
    ids = table[(table != 254) & (table != 255)].tolist()
    assert len(ids) == len(set(ids)) > 0
