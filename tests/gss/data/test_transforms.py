"""Joint transforms: image and label stay aligned, values are what the definitions say, draws can be replayed."""

from __future__ import annotations

import colorsys

import torch
from torch.nn import functional as F

from gss.data.transforms import Compose, PhotometricDistortion, RandomCrop, RandomFlip, RandomScale, resize


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def aligned(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose red channel equals the label: a smooth ramp, so that resizing keeps them close."""
    label = ((torch.arange(height)[:, None] * 2 + torch.arange(width)[None, :]) // 2).clamp(max=250).to(torch.uint8)
    return torch.stack((label, 255 - label, torch.full_like(label, 7))), label


def test_chain_keeps_image_and_label_aligned() -> None:
    image, label = aligned(90, 120)
    before = image.clone(), label.clone()
    chain = Compose((RandomScale(0.75, 1.5), RandomCrop((64, 80), 1.0), RandomFlip()))
    for seed in range(20):
        new_image, new_label = chain(image, label, generator(seed))
        assert new_image.shape == (3, 64, 80) and new_label.shape == (64, 80)
        known = new_label != 255
        difference = (new_image[0].int() - new_label.int()).abs()[known]
        assert difference.max() <= 2  # bilinear against nearest on a ramp of at most one level a pixel
    assert torch.equal(image, before[0]) and torch.equal(label, before[1])


def test_resize_is_antialiased_bilinear_and_nearest() -> None:
    image, label = aligned(30, 40)
    image = torch.randint(0, 256, image.shape, dtype=torch.uint8, generator=generator())
    new_image, new_label = resize(image, label, (15, 61))
    exact = F.interpolate(image[None].float(), size=(15, 61), mode="bilinear", antialias=True)[0]
    assert (new_image.float() - exact).abs().max() <= 1.0
    expected = F.interpolate(label[None, None].float(), size=(15, 61), mode="nearest-exact")[0, 0]
    assert torch.equal(new_label, expected.to(torch.uint8))


def test_random_scale_range() -> None:
    image, label = aligned(100, 50)
    heights = [RandomScale(0.5, 2.0, base=0.5)(image, label, generator(seed))[1].shape[0] for seed in range(50)]
    assert min(heights) in range(25, 35) and max(heights) in range(86, 101)


def test_crop_pads_small_images() -> None:
    image, label = aligned(10, 10)
    new_image, new_label = RandomCrop((16, 12))(image, label, generator())
    assert torch.equal(new_label[:10, :10], label)
    assert (new_label[10:] == 255).all() and (new_label[:, 10:] == 255).all()
    assert (new_image[:, 10:] == 0).all()


def test_crop_prefers_mixed_windows() -> None:
    label = torch.zeros(40, 80, dtype=torch.uint8)
    label[:, 70:] = 1
    image = label.repeat(3, 1, 1)
    crops = [RandomCrop((20, 20), ratio)(image, label, generator(s))[1] for ratio in (0.75, 1.0) for s in range(40)]
    mixed = [float(crop.float().mean()) > 0.25 for crop in crops]
    assert sum(mixed[:40]) > 2 * sum(mixed[40:])


def test_crop_reaches_every_position() -> None:
    image, label = aligned(6, 7)
    corners = {RandomCrop((5, 5), 1.0)(image, label, generator(seed))[1][0, 0].item() for seed in range(60)}
    assert corners == {label[i, j].item() for i in range(2) for j in range(3)}


def test_flip() -> None:
    image, label = aligned(4, 6)
    new_image, new_label = RandomFlip(1.0)(image, label, generator())
    assert torch.equal(new_label, label.flip(1)) and torch.equal(new_image, image.flip(2))
    assert RandomFlip(0.0)(image, label, generator())[1] is label


def test_photometric_leaves_the_label_and_grey_hue() -> None:
    grey = torch.full((3, 4, 5), 100, dtype=torch.uint8)
    label = torch.zeros(4, 5, dtype=torch.uint8)
    only_hue = PhotometricDistortion(brightness=0, contrast=(1, 1), p=1.0)
    for seed in range(10):
        image, same = only_hue(grey, label, generator(seed))
        assert same is label
        assert (image.int() - 100).abs().max() <= 1


def test_photometric_brightness_and_contrast_are_affine() -> None:
    image = torch.arange(60, 180, dtype=torch.uint8).repeat(3, 1, 1)
    label = torch.zeros(1, 120, dtype=torch.uint8)
    brighter = PhotometricDistortion(contrast=(1, 1), saturation=(1, 1), hue=0, p=1.0)
    shifts = set()
    for seed in range(10):
        difference = brighter(image, label, generator(seed))[0].int() - image.int()
        assert difference.max() - difference.min() <= 1
        shifts.add(int(difference.float().mean()))
    assert len(shifts) > 5 and max(map(abs, shifts)) <= 32
    doubled = PhotometricDistortion(brightness=0, contrast=(1.4, 1.4), saturation=(1, 1), hue=0, p=1.0)
    changed = doubled(image, label, generator())[0].float()
    assert torch.allclose(changed, (image.float() * 1.4).clamp(max=255), atol=0.6)


def test_photometric_turns_the_hue() -> None:
    red = torch.tensor([150, 90, 90], dtype=torch.uint8).reshape(3, 1, 1).expand(3, 2, 2).contiguous()
    label = torch.zeros(2, 2, dtype=torch.uint8)
    only_hue = PhotometricDistortion(brightness=0, contrast=(1, 1), saturation=(1, 1), hue=36, p=1.0)
    turns = []
    for seed in range(30):
        r, g, b = (only_hue(red, label, generator(seed))[0][:, 0, 0].double() / 255).tolist()
        turns.append((colorsys.rgb_to_hsv(r, g, b)[0] * 360 + 180) % 360 - 180)
    assert all(abs(turn) < 60 for turn in turns)
    assert min(turns) < -10 and max(turns) > 10


def test_no_change_without_chance() -> None:
    image, label = aligned(4, 4)
    assert PhotometricDistortion(p=0.0)(image, label, generator())[0] is image


def test_same_generator_same_result() -> None:
    image = torch.randint(0, 256, (3, 50, 60), dtype=torch.uint8, generator=generator())
    label = torch.randint(0, 5, (50, 60), dtype=torch.uint8, generator=generator())
    chain = Compose((RandomScale(0.5, 1.5), RandomCrop((32, 32)), RandomFlip(), PhotometricDistortion()))
    first, second = chain(image, label, generator(4)), chain(image, label, generator(4))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
