"""The nearest palette colour of pixels, and which pixels are near none."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gss.palette import Palette
from gss.prediction.painted.unknown import UnknownColors, UnknownCounter
from gsskernels import maskige_decode, maskige_encode

MAX_TOLERANCE = 16.0  # levels


class Lookup(NamedTuple):
    """The meaning of each of the 256 values of a picture whose values are not colours themselves.

    colors: uint8 (256, 3).
    labels: uint8 (256,).
    margin: float32 (256,).
    unknown: bool (256,), whether the colour is far from every palette colour.
    allowed: bool (256,), whether the value may occur.
    complaint: the message about values that may not, with {} for them.
    """

    colors: np.ndarray
    labels: np.ndarray
    margin: np.ndarray
    unknown: np.ndarray
    allowed: np.ndarray
    complaint: str

    def check(self, counts: np.ndarray, name: str) -> None:
        """Raises ValueError if values occur that may not; `counts` (256,) are the pixels of each value."""
        wrong = np.flatnonzero(~self.allowed & (counts > 0)).tolist()
        if wrong:
            raise ValueError(f"{name}: {self.complaint.format(', '.join(map(str, wrong)))}")


class Nearest:
    """Decodes pieces of a picture, and counts its unknown colours over all of them.

    Args:
        palette: K classes.
        ignore_color: let the palette's ignore colour take part: pixels nearest to it get 255. A class of the same
            colour wins.
        tolerance: colours farther than so many levels from every colour that takes part are unknown. None: 16, or half
            the distance of the closest two colours where that is less, the error that every pixel survives.

    Raises:
        TypeError, ValueError: a tolerance that is no number of at least 0.
    """

    def __init__(self, palette: Palette, *, ignore_color: bool = True, tolerance: float | None = None) -> None:
        self.palette = palette
        colors = list(palette.colors)
        # Beside a class of its own colour the ignore colour would make every margin there 0.
        if ignore_color and palette.ignore_color not in colors:
            colors.append(palette.ignore_color)
        self._colors = torch.tensor(colors, dtype=torch.uint8)
        self.tolerance = _default_tolerance(colors) if tolerance is None else _checked(tolerance)
        self._counter = UnknownCounter()

    def __call__(self, image: Tensor, *, margin: bool) -> tuple[Tensor, Tensor | None]:
        """Decode colours.

        Args:
            image: (3, H, W) in levels, uint8 or floating 0..255.
            margin: also give the margin.

        Returns:
            labels uint8 (H, W), and margin float32 (H, W) in levels or None.
        """
        labels, distance = self._decode(image, margin)
        picked = self._differs(image, labels)
        if bool(picked.any()):
            pixels, nearest = image[:, picked], self._colors.to(image.device)[labels[picked].long()]
            unknown = (pixels.float() - nearest.T.float()).square().sum(0) > self.tolerance**2
            if bool(unknown.any()):
                colors = pixels[:, unknown]
                self._counter.add(
                    (colors.round() if colors.is_floating_point() else colors).T.to(torch.uint8).cpu().numpy()
                )
        return self._to_labels(labels), distance

    def class_ids(self) -> Lookup:
        """Values that are class ids: each is its own label, with the margin of the exact colour of its class."""
        palette, ids = self.palette, np.arange(256, dtype=np.uint8)
        colors = palette.color_table()
        margin = self._decode(torch.from_numpy(colors.T.copy())[:, None], margin=True)[1]
        assert margin is not None
        allowed = (ids < palette.num_classes) | (ids == palette.ignore_index)
        complaint = (
            f"grey values {{}} are no class ids of the palette {palette.name!r} (0..{palette.num_classes - 1}, and 255 "
            'for ignore); with grey="colors" (--grey colors) they are decoded as grey colours'
        )
        return Lookup(colors, ids, margin[0].numpy(), np.zeros(256, bool), allowed, complaint)

    def table(self, table: np.ndarray) -> Lookup:
        """Values of a colour table uint8 (n, 3)."""
        size = len(table)
        colors = np.zeros((256, 3), np.uint8)
        colors[:size] = table
        image = torch.from_numpy(colors.T.copy())
        index, margin = self._decode(image[:, None], margin=True)
        assert margin is not None
        distance = (image.float() - self._colors[index[0].long()].T.float()).square().sum(0)
        unknown = (distance > self.tolerance**2).numpy()
        complaint = f"the values {{}} are outside its colour table of {size} colours"
        return Lookup(
            colors, self._to_labels(index)[0].numpy(), margin[0].numpy(), unknown, np.arange(256) < size, complaint
        )

    def add(self, colors: np.ndarray, pixels: np.ndarray) -> None:
        """Count unknown colours uint8 (n, 3) of so many pixels each, int64 (n,)."""
        self._counter.add(colors, pixels)

    def unknown(self) -> UnknownColors:
        """The unknown colours of everything that was decoded."""
        return self._counter.result(self.tolerance)

    def _decode(self, image: Tensor, margin: bool) -> tuple[Tensor, Tensor | None]:
        """Index of the nearest colour, K for the ignore colour, and the margin."""
        colors = self._colors.to(image.device)
        if margin:
            return maskige_decode(image, colors, margin=True)
        return maskige_decode(image, colors), None

    def _differs(self, image: Tensor, labels: Tensor) -> Tensor:
        """Where the image is not exactly the colour it was decoded to: painting again is cheaper than measuring."""
        # With 255 classes the ignore colour has the index 255, so no label may be taken for the ignore index.
        painted = maskige_encode(labels, self._colors.to(image.device), ignore_index=-1, dtype=torch.uint8)
        return (painted != image).any(0)

    def _to_labels(self, index: Tensor) -> Tensor:
        return index.masked_fill_(index == self.palette.num_classes, self.palette.ignore_index).to(torch.uint8)


def _default_tolerance(colors: list[tuple[int, int, int]]) -> float:
    distances = (math.dist(a, b) for a, b in itertools.combinations(colors, 2))
    return min(MAX_TOLERANCE, min(distances, default=math.inf) / 2)


def _checked(tolerance: float) -> float:
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)):
        raise TypeError(f"unknown_tolerance: expected a number of levels or None, got {tolerance!r}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"unknown_tolerance: expected a number of at least 0, got {tolerance}")
    return float(tolerance)
