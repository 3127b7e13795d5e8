"""Steps that the official training pipeline does in its own way: resizing into a random box, and padding at the end.

The official MSeg recipe maps labels to the universal ids last; here they are mapped on reading, which changes nothing:
no step looks at more than whether two ids are equal and which is 255, and a training set's ids go to distinct universal
classes. Normalisation belongs to the model; `PAD_COLOR` is what the official zero after normalisation is before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gss.data.transforms import Pair, pad_to
from gss.io.resize import fit_box, resize_images, source_corners

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
