"""Test-time sizes, and the fixed-point resize against OpenCV's values and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from gss.config import InferenceConfig
from gss.io.resize import fit_box, resize_images
from gss.model.views.predict import view_sizes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 683), (512, 683)),  # short side decides
        ((480, 640), (512, 683)),
        ((640, 480), (683, 512)),  # the box turns with the image
        ((100, 1000), (205, 2048)),  # long side decides: 204.8
        ((1, 5000), (1, 2048)),  # 0.41 would vanish
        ((1600, 1200), (683, 512)),  # 682.67
    ],
)
def test_an_image_fits_into_the_box(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit_box(size, (512, 2048)) == fit_box(size, (2048, 512)) == expected


def test_views_are_multiples_of_the_box_or_of_the_image() -> None:
    assert view_sizes((480, 640), InferenceConfig()) == [(480, 640)]
    scales = (0.5, 1.0, 1.75)
    config = InferenceConfig(scales=scales)
    assert view_sizes((481, 641), config) == [(240, 320), (481, 641), (841, 1121)]
    assert view_sizes((481, 641), InferenceConfig(scales=scales, box=(512, 2048))) == [
        (256, 341),
        (512, 682),
        (896, 1194),
    ]
    stretched = InferenceConfig(scales=(1.0, 0.5), box=(1024, 2048), keep_ratio=False)
    assert view_sizes((481, 641), stretched) == [(1024, 2048), (512, 1024)]


def exact(image: list[list[int]], row: int, column: int, size: tuple[int, int]) -> Fraction:
    """Pixel (row, column) of the bilinear resize to `size`, as a fraction."""

    def neighbours(index: int, target: int, source: int) -> list[tuple[int, Fraction]]:
        position = (index + Fraction(1, 2)) * Fraction(source, target) - Fraction(1, 2)
        low = position.numerator // position.denominator
        share = position - low
        return [(min(max(low, 0), source - 1), 1 - share), (min(max(low + 1, 0), source - 1), share)]

    return sum(
        (
            y_share * x_share * image[y][x]
            for y, y_share in neighbours(row, size[0], len(image))
            for x, x_share in neighbours(column, size[1], len(image[0]))
        ),
        Fraction(0),
    )


def planes(image: list[list[int]]) -> Tensor:
    return torch.tensor(image, dtype=torch.uint8).expand(1, 3, -1, -1)


# cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) of OpenCV 5.0.0, values of one channel.
IMAGE = [[0, 255, 7], [90, 13, 200]]
OPENCV = {
    (4, 5): [[0, 102, 255, 106, 7], [23, 91, 195, 111, 55], [68, 70, 74, 120, 152], [90, 59, 13, 125, 200]],
    (3, 4): [[0, 159, 162, 7], [45, 100, 123, 104], [90, 42, 83, 200]],
    (1, 2): [[67, 111]],
}


@pytest.mark.parametrize("size", OPENCV)
def test_uint8_images_are_resized_as_by_opencv(size: tuple[int, int]) -> None:
    assert torch.equal(resize_images(planes(IMAGE), size), planes(OPENCV[size]))


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (11, 2), (14, 13), (7, 6), (40, 40)])
def test_values_are_within_one_of_exact_arithmetic(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, 7, 6), dtype=torch.uint8, generator=generator)
    resized = resize_images(pixels, size)
    assert resized.dtype == torch.uint8 and resized.shape == (1, 3, *size)
    image = pixels[0, 0].tolist()
    for row in range(size[0]):
        for column in range(size[1]):
            assert abs(int(resized[0, 0, row, column]) - exact(image, row, column, size)) < 1


def test_flat_images_stay_flat_and_halving_is_the_mean_of_four() -> None:
    for value in (0, 1, 254, 255):
        flat = torch.full((2, 3, 5, 7), value, dtype=torch.uint8)
        assert torch.equal(resize_images(flat, (13, 4)), torch.full((2, 3, 13, 4), value, dtype=torch.uint8))
    pixels = torch.randint(0, 256, (2, 3, 8, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    blocks = pixels.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2).int().sum(-1)
    assert torch.equal(resize_images(pixels, (4, 5)).int(), (blocks + 2) // 4)


def test_float_images_are_resized_in_floating_point() -> None:
    image = torch.tensor([[0.0, 1.0]]).expand(1, 3, 1, 2)
    resized = resize_images(image, (1, 4))
    assert torch.equal(resized, torch.tensor([[0.0, 0.25, 0.75, 1.0]]).expand(1, 3, 1, 4))
    assert resize_images(image, (1, 2)) is image
