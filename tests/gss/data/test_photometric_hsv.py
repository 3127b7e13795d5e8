"""Conversions equal to those recorded from OpenCV 5.0 (x86, AVX2), and distortion with its coins."""

from __future__ import annotations

import zlib

import torch

from gss.data.photometric_hsv import PhotometricHSV, hsv_to_rgb, rgb_to_hsv

GRID = torch.arange(0, 256, 5)


def pixels(*rows: tuple[int, int, int]) -> torch.Tensor:
    """(3, N) uint8 from N pixels."""
    return torch.tensor(rows, dtype=torch.uint8).T.contiguous()


def checksum(image: torch.Tensor) -> int:
    return zlib.crc32(image.T.contiguous().numpy())


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_to_hsv() -> None:
    found = rgb_to_hsv(pixels((10, 200, 30), (255, 0, 128), (7, 7, 7), (90, 91, 89), (0, 0, 255), (1, 0, 0)))
    expected = [[63, 242, 200], [165, 255, 255], [0, 0, 7], [45, 6, 91], [120, 255, 255], [0, 255, 1]]
    assert found.T.tolist() == expected
    grid = torch.cartesian_prod(GRID, GRID, GRID).to(torch.uint8).T
    assert checksum(rgb_to_hsv(grid)) == 2523014156


def test_to_rgb() -> None:
    found = hsv_to_rgb(pixels((65, 242, 200), (165, 255, 255), (0, 0, 7), (0, 1, 10), (1, 90, 85), (179, 37, 254)))
    expected = [[10, 200, 41], [255, 0, 127], [7, 7, 7], [10, 9, 9], [85, 56, 55], [254, 217, 218]]
    assert found.T.tolist() == expected
    grid = torch.cartesian_prod(torch.arange(180), GRID, GRID).to(torch.uint8).T
    assert checksum(hsv_to_rgb(grid)) == 2444302060


def test_nothing_to_distort() -> None:
    image = torch.randint(0, 256, (3, 6, 7), dtype=torch.uint8, generator=generator(0))
    label = torch.zeros(6, 7, dtype=torch.uint8)
    neutral = PhotometricHSV(brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=1)
    seen = set()
    for seed in range(40):
        changed, same = neutral(image, label, generator(seed))
        assert same is label
        # a round trip through HSV costs a few levels, a hue step of 2 degrees about 8 of 255
        difference = int((changed.int() - image.int()).abs().max())
        assert difference <= 20
        seen.add(difference > 0)
    assert seen == {True, False}


def test_contrast_comes_before_or_after() -> None:
    """Twice the contrast clips, so that the order shows in the result."""
    image = pixels((200, 100, 50))[..., None].contiguous()
    label = torch.zeros(1, 1, dtype=torch.uint8)

    def double(rgb: torch.Tensor) -> torch.Tensor:
        return (2 * rgb.int()).clamp(max=255).to(torch.uint8)

    def fade(rgb: torch.Tensor) -> torch.Tensor:
        hue, saturation, value = rgb_to_hsv(rgb)
        return hsv_to_rgb(torch.stack((hue, saturation // 2, value)))

    distort = PhotometricHSV(brightness=0.0, contrast=(2.0, 2.0), saturation=(0.5, 0.5), hue=1)
    results = {tuple(distort(image, label, generator(seed))[0].flatten().tolist()) for seed in range(200)}
    expected = [image, double(image), fade(image), fade(double(image)), double(fade(image))]
    assert {tuple(rgb.flatten().tolist()) for rgb in expected} <= results
    assert not torch.equal(expected[3], expected[4])


def test_hue_turns_by_whole_steps_from_minus_18_to_17() -> None:
    image = pixels((255, 0, 0))[..., None].contiguous()
    label = torch.zeros(1, 1, dtype=torch.uint8)
    only_hue = PhotometricHSV(brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0))
    hues = set()
    for seed in range(1500):
        changed = only_hue(image, label, generator(seed))[0].reshape(3, 1)
        hues.add(int(rgb_to_hsv(changed)[0]))
    turns = sorted((hue + 90) % 180 - 90 for hue in hues)
    assert turns[0] == -18 and turns[-1] == 17 and len(turns) >= 34


def test_same_generator_same_result() -> None:
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8, generator=generator(1))
    label = torch.zeros(20, 30, dtype=torch.uint8)
    before = image.clone()
    results = [PhotometricHSV()(image, label, generator(seed))[0] for seed in (3, 3, 4)]
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert torch.equal(image, before)
