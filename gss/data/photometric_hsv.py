"""Photometric distortion through HSV, as the official recipes do it: in 8 bits, with OpenCV's hue of 180 steps.

`gss.data.transforms.PhotometricDistortion` is the same idea in one matrix, and ten times faster. The two differ: HSV
saturation also moves the luma, each step here ends in 8 bits, and contrast comes before or after by a coin.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

Pair = tuple[torch.Tensor, torch.Tensor]

# OpenCV divides by table: 12 fractional bits, entry 0 stands for grey and black pixels.
_SHIFT = 12
_INDEX = torch.arange(1, 256, dtype=torch.float64)
_SATURATION = torch.cat((torch.zeros(1), (255 << _SHIFT) / _INDEX)).round().to(torch.int32)
_HUE = torch.cat((torch.zeros(1), (180 << _SHIFT) / (6 * _INDEX))).round().to(torch.int32)


@dataclass(frozen=True)
class PhotometricHSV:
    """Brightness, contrast, saturation and hue, each by a coin; the label stays.

    Brightness adds up to `brightness` levels; contrast and saturation scale by their ranges, saturation in HSV; hue
    adds an integer of -hue..hue-1 steps of 2 degrees. A further coin puts contrast after saturation and hue instead of
    before. Results are clipped to 0..255, and fractions cut off.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: int = 18

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        if _coin(generator):
            image = _affine(image, 1.0, _uniform(-self.brightness, self.brightness, generator))
        contrast_first = _coin(generator)
        if contrast_first and _coin(generator):
            image = _affine(image, _uniform(*self.contrast, generator))
        if _coin(generator):
            hue, saturation, value = rgb_to_hsv(image)
            saturation = _affine(saturation, _uniform(*self.saturation, generator))
            image = hsv_to_rgb(torch.stack((hue, saturation, value)))
        if _coin(generator):
            hue, saturation, value = rgb_to_hsv(image)
            turn = int(torch.randint(-self.hue, self.hue, (), generator=generator).item())
            turned = (hue.to(torch.int32) + turn).remainder(180).to(torch.uint8)
            image = hsv_to_rgb(torch.stack((turned, saturation, value)))
        if not contrast_first and _coin(generator):
            image = _affine(image, _uniform(*self.contrast, generator))
        return image, label


def rgb_to_hsv(image: torch.Tensor) -> torch.Tensor:
    """uint8 (3, ...) RGB to uint8 (3, ...) HSV: hue 0..179, saturation and value 0..255, as OpenCV gives for 8 bits."""
    red, green, blue = image.to(torch.int32)
    value = torch.maximum(torch.maximum(red, green), blue)
    span = value - torch.minimum(torch.minimum(red, green), blue)
    saturation = _divide(span, _SATURATION, value)
    from_green = torch.where(value == green, (blue - red).add_(span, alpha=2), (red - green).add_(span, alpha=4))
    hue = _divide(torch.where(value == red, green - blue, from_green), _HUE, span)
    hue = torch.where(hue < 0, hue + 180, hue)
    return torch.stack((hue.to(torch.uint8), saturation.to(torch.uint8), value.to(torch.uint8)))


def hsv_to_rgb(image: torch.Tensor) -> torch.Tensor:
    """The way back, uint8 (3, ...) HSV with hue 0..179 to uint8 (3, ...) RGB.

    As OpenCV's vector code, which computes in float32 with fused multiply-adds and cuts fractions off: a round trip
    darkens some pixels by one level. (For the last pixels of a row that do not fill a vector, OpenCV rounds.)
    """
    saturation, value = image[1:].to(torch.float32) * (1 / 255)
    hue = image[0].to(torch.int32).flatten()
    channels = []
    for weights in _HUE_WEIGHTS:
        taken = weights.index_select(0, hue).view_as(value)
        # float64 holds the product of two float32 numbers exactly, so that 1 - ab is rounded once.
        left = (1 - saturation.to(torch.float64) * taken).to(torch.float32)
        channels.append((value * left).mul_(255).clamp_(0, 255).to(torch.uint8))
    return torch.stack(channels)


def _divide(numerator: torch.Tensor, table: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """numerator * table[denominator] without the fractional bits, rounded; int32."""
    quotient = table.index_select(0, denominator.flatten()).view_as(numerator)
    return quotient.mul_(numerator).add_(1 << _SHIFT - 1).bitwise_right_shift_(_SHIFT)


def _hue_weights() -> torch.Tensor:
    """How much of the saturation each channel gives up at each hue: (3, 180) float64 with values of float32.

    In each of the six sectors of the hue circle one channel keeps all, one gives up all, and one goes from the one to
    the other.
    """
    hue = torch.arange(180, dtype=torch.float32) * (6 / 180)
    place = hue - hue.floor()
    kinds = torch.stack((torch.zeros(180), torch.ones(180), place, 1 - place))
    sectors = torch.tensor([[0, 3, 1], [2, 0, 1], [1, 0, 3], [1, 2, 0], [3, 1, 0], [0, 1, 2]])
    return kinds.gather(0, sectors[hue.to(torch.int64)].T).to(torch.float64)


_HUE_WEIGHTS = _hue_weights()


def _affine(values: torch.Tensor, scale: float, shift: float = 0.0) -> torch.Tensor:
    """uint8 in and out: scaled and shifted in float32, clipped, fractions cut off."""
    return (values.to(torch.float32) * scale + shift).clamp(0, 255).to(torch.uint8)


def _coin(generator: torch.Generator) -> bool:
    return bool(torch.randint(2, (), generator=generator).item())


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()
