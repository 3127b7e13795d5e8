"""Joint transforms of an image and its label map.

Each is called as transform(image uint8 (3, H, W), label uint8 (H, W), generator) and returns the new pair, never
changing its input. All randomness comes from the explicit CPU generator, so augmentation can be replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from gss.config import AugmentationConfig
from gss.data.dataset import Transform
from gss.io.resize import fit_box, resize_images, source_corners

Pair = tuple[torch.Tensor, torch.Tensor]

IGNORE = 255

# NTSC luma and the two chroma axes: hue turns the chroma plane, saturation scales it.
_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_YIQ_TO_RGB = torch.linalg.inv(_RGB_TO_YIQ)


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: tuple[Transform, ...]

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        for transform in self.transforms:
            image, label = transform(image, label, generator)
        return image, label


@dataclass(frozen=True)
class RandomScale:
    """Resizes by base * u, u uniform in [min, max]; keeps the aspect ratio."""

    min: float
    max: float
    base: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.min <= self.max:
            raise ValueError(f"RandomScale: expected 0 < min <= max, got min={self.min}, max={self.max}")
        if self.base <= 0:
            raise ValueError(f"base: expected a ratio > 0, got {self.base}")

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        ratio = self.base * _uniform(self.min, self.max, generator)
        return resize(image, label, _scaled(label, ratio))


@dataclass(frozen=True)
class RandomCrop:
    """A window of `size` (height, width); smaller images are padded at the bottom right (image 0, label 255).

    A window that one class covers to `cat_max_ratio` of its labelled pixels or more, or that has no labelled pixels, is
    drawn again, up to ten times, so that windows of nothing but road are rare. `cat_max_ratio=1` takes the first.
    Without `pad`, smaller images give smaller windows.
    """

    size: tuple[int, int]
    cat_max_ratio: float = 0.75
    pad: bool = True

    def __post_init__(self) -> None:
        if min(self.size) <= 0:
            raise ValueError(f"size: expected (height, width) > 0, got {self.size}")
        if not 0 < self.cat_max_ratio <= 1:
            raise ValueError(f"cat_max_ratio: expected 0 < ratio <= 1, got {self.cat_max_ratio}")

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        if self.pad:
            image, label = pad_to(image, label, self.size)
        rows, columns = self._window(label, generator)
        for _ in range(10):
            if self.cat_max_ratio >= 1 or self._is_mixed(label[rows, columns]):
                break
            rows, columns = self._window(label, generator)
        return image[:, rows, columns].contiguous(), label[rows, columns].contiguous()

    def _window(self, label: torch.Tensor, generator: torch.Generator) -> tuple[slice, slice]:
        top = _integer(max(label.shape[0] - self.size[0], 0), generator)
        left = _integer(max(label.shape[1] - self.size[1], 0), generator)
        return slice(top, top + self.size[0]), slice(left, left + self.size[1])

    def _is_mixed(self, window: torch.Tensor) -> bool:
        counts = torch.bincount(window.reshape(-1), minlength=256)[:IGNORE]
        return int(counts.max()) < self.cat_max_ratio * int(counts.sum())


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors left and right with probability `p`."""

    p: float = 0.5

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        if _uniform(0.0, 1.0, generator) < self.p:
            return image.flip(2), label.flip(1)
        return image, label


@dataclass(frozen=True)
class PhotometricDistortion:
    """Brightness, contrast, saturation and hue, each with probability `p`; the label stays.

    Brightness adds up to `brightness` levels, contrast and saturation scale by their ranges, hue turns by up to `hue`
    degrees (36 is the usual 18 of OpenCV's 180 hue steps). In YIQ all four are affine in RGB, so together they are one
    3x4 matrix a sample instead of a round trip through HSV.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 36.0
    p: float = 0.5

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        use = (torch.rand(4, generator=generator) < self.p).tolist()
        shift = _uniform(-self.brightness, self.brightness, generator) if use[0] else 0.0
        contrast = _uniform(*self.contrast, generator) if use[1] else 1.0
        saturation = _uniform(*self.saturation, generator) if use[2] else 1.0
        angle = math.radians(_uniform(-self.hue, self.hue, generator)) if use[3] else 0.0
        if not any(use):
            return image, label
        cosine, sine = saturation * math.cos(angle), saturation * math.sin(angle)
        chroma = torch.tensor([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
        matrix = contrast * (_YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ)
        pixels = image.reshape(3, -1).to(torch.float32)
        offset = torch.full((3, 1), contrast * shift)
        changed = torch.addmm(offset, matrix, pixels).clamp_(0, 255).round_().to(torch.uint8)
        return changed.reshape(image.shape), label


def resize(image: torch.Tensor, label: torch.Tensor, size: tuple[int, int]) -> Pair:
    """Image bilinear with antialiasing, label nearest (pixel centres); both to (height, width)."""
    if tuple(label.shape) == tuple(size):
        return image, label
    # Channels last is what the vectorised uint8 resize works on.
    source = image[None].contiguous(memory_format=torch.channels_last)
    resized = F.interpolate(source, size=size, mode="bilinear", align_corners=False, antialias=True)[0].contiguous()
    rows = _nearest(label.shape[0], size[0])
    columns = _nearest(label.shape[1], size[1])
    return resized, label.index_select(0, rows).index_select(1, columns)


def pad_to(image: torch.Tensor, label: torch.Tensor, size: tuple[int, int]) -> Pair:
    """Pads at the bottom and the right up to at least `size` (height, width): image with 0, label with 255."""
    bottom, right = max(size[0] - label.shape[0], 0), max(size[1] - label.shape[1], 0)
    if bottom or right:
        image = F.pad(image, (0, right, 0, bottom), value=0)
        label = F.pad(label, (0, right, 0, bottom), value=IGNORE)
    return image, label


def _nearest(old: int, new: int) -> torch.Tensor:
    """The source index whose pixel centre is nearest to each target pixel's centre."""
    centers = (torch.arange(new, dtype=torch.float64) + 0.5) * (old / new)
    return centers.floor_().clamp_(max=old - 1).to(torch.int64)


def _scaled(label: torch.Tensor, ratio: float) -> tuple[int, int]:
    return max(1, round(label.shape[0] * ratio)), max(1, round(label.shape[1] * ratio))


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _integer(high: int, generator: torch.Generator) -> int:
    """Uniform in 0..high, both included."""
    return int(torch.randint(high + 1, (), generator=generator).item())


# ImageNet's mean colour, rounded to levels.
PAD_COLOR = (124, 116, 104)


@dataclass(frozen=True)
class ResizeToBox:
    """Resizes into `box` (height, width) times a factor drawn from [min, max]; keeps the aspect ratio.

    It is the box that is scaled, its sides cut to whole pixels; the image then fits into it, see `fit_box`: the longer
    side goes with the box's longer side, whichever way the box lies.
    """

    box: tuple[int, int]
    min: float = 0.5
    max: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.min <= self.max:
            raise ValueError(f"ResizeToBox: expected 0 < min <= max, got min={self.min}, max={self.max}")
        if min(self.box) * self.min < 1:
            raise ValueError(f"box: expected at least 1 pixel a side at the smallest factor, got {self.box}")

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        factor = self.min + (self.max - self.min) * torch.rand((), generator=generator).item()
        box = int(self.box[0] * factor), int(self.box[1] * factor)
        return resize_like_opencv(image, label, fit_box((label.shape[0], label.shape[1]), box))


@dataclass(frozen=True)
class Pad:
    """Pads at the bottom and the right to `size` (height, width) where smaller: image with `color`, label with 255."""

    size: tuple[int, int]
    color: tuple[int, int, int] = PAD_COLOR

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Pair:
        height, width = label.shape
        if height >= self.size[0] and width >= self.size[1]:
            return image, label
        image, label = pad_to(image, label, self.size)
        for channel, level in zip(image, self.color, strict=True):
            channel[height:] = level
            channel[:, width:] = level
        return image, label


def resize_like_opencv(image: torch.Tensor, label: torch.Tensor, size: tuple[int, int]) -> Pair:
    """Image bilinear without antialiasing, label nearest by its left upper corner, to (height, width); both as OpenCV.

    `gss.data.transforms.resize` is better where nothing must be reproduced: it smooths before it shrinks, and takes the
    label from the pixel centre.
    """
    rows, columns = source_corners(label.shape[0], size[0]), source_corners(label.shape[1], size[1])
    return resize_images(image[None], size)[0], label.index_select(0, rows).index_select(1, columns)


def augmentation(config: AugmentationConfig) -> Compose:
    """Scale, crop, flip, photometric distortion; images of `config.crop` pixels come out.

    With a `box` it is the official order: images smaller than the crop are padded last, in the mean colour, so that
    padding is neither flipped nor distorted. Without one the crop pads with black.
    """
    crop = (config.crop[0], config.crop[1])
    steps: list[Transform] = []
    if config.box is None:
        steps += [RandomScale(*config.scale), RandomCrop(crop)]
    else:
        steps += [ResizeToBox((config.box[0], config.box[1]), *config.scale), RandomCrop(crop, pad=False)]
    steps.append(RandomFlip(config.flip))
    if config.photometric:
        steps.append(PhotometricDistortion())
    if config.box is not None:
        steps.append(Pad(crop))
    return Compose(tuple(steps))
