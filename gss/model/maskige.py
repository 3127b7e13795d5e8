"""X and X^-1 as modules: label map -> maskige -> label map (paper section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.palette import Palette

# Votes are counted for so many classes at a time, each a plane of the maskige's size.
CLASSES_AT_A_TIME = 8


class DecodedMaskige(NamedTuple):
    """Classes read from a maskige.

    labels: (B, H, W) uint8.
    margin: (B, H, W) float32, the lead of the class: in colour levels for the nearest colour, see
        `gsskernels.maskige_decode`; as a difference of probabilities for a learned X^-1.
    """

    labels: Tensor
    margin: Tensor


class Maskige(nn.Module):
    """The training-free pair GSS-FF: X paints a class in its palette colour, X^-1 takes the nearest palette colour.

    Maskiges are float (B, 3, H, W) in 0..1. The palette belongs to the configuration, not to the weights.

    >>> from gss import Palette
    >>> maskige = Maskige(Palette("two", ("road", "sky"), ((128, 64, 128), (70, 130, 180))))
    >>> painted = maskige.encode(torch.tensor([[[0, 1]]]))
    >>> (255 * painted[0, :, 0, 1]).round().int().tolist()
    [70, 130, 180]
    >>> maskige.decode(painted).labels.tolist()
    [[[0, 1]]]
    """

    colors: Tensor

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.palette = palette
        self.register_buffer("colors", palette.tensor(dtype=torch.float32), persistent=False)

    def encode(self, labels: Tensor) -> Tensor:
        """labels (B, H, W) integers -> maskige (B, 3, H, W) float32 in 0..1; other labels get the ignore colour."""
        return gsskernels.maskige_encode(
            labels,
            self.colors,
            scale=1 / 255,
            ignore_index=self.palette.ignore_index,
            ignore_color=self.palette.ignore_color,
        )

    def decode(self, maskige: Tensor, size: tuple[int, int] | None = None) -> DecodedMaskige:
        """maskige (B, 3, h, w) in 0..1 -> labels and margin at `size`, resized by the vote of neighbouring classes."""
        return DecodedMaskige(*gsskernels.maskige_decode(maskige * 255, self.colors, size=size, margin=True))

    def votes(self, maskige: Tensor, size: tuple[int, int]) -> Tensor:
        """maskige (B, 3, h, w) in 0..1 -> share of each class in every pixel of `size`, (B, K, *size) float32.

        One-hot planes resized bilinearly, as the official system does, a few classes at a time.
        """
        labels = gsskernels.maskige_decode(maskige * 255, self.colors)
        votes = maskige.new_empty((len(labels), self.palette.num_classes, *size), dtype=torch.float32)
        for first in range(0, self.palette.num_classes, CLASSES_AT_A_TIME):
            classes = torch.arange(first, min(first + CLASSES_AT_A_TIME, self.palette.num_classes), device=votes.device)
            planes = (labels[:, None] == classes[:, None, None]).float()
            if planes.shape[-2:] != size:
                planes = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
            votes[:, classes] = planes
        return votes
