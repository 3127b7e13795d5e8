"""The nearest palette colour of pixels, and which pixels are near none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from gss.palette import Palette
from gss.prediction.painted.unknown import UnknownColors, UnknownCounter
from gsskernels import maskige_decode, maskige_encode

MAX_TOLERANCE = 16.0  # levels


class Nearest:
    """Decodes pieces of a picture, and counts its unknown colours over all of them.

    Args:
        palette: K classes.
        ignore_color: let the palette's ignore colour take part: what is nearest to it gets 255. A class of the same
            colour wins.
        tolerance: colours farther than so many levels from every colour that takes part are unknown. None: 16, or half
            the distance of the closest two colours where that is less, the error that every pixel survives.

    Raises:
        TypeError, ValueError: a tolerance that is no number of at least 0.
    """

    def __init__(self, palette: Palette, *, ignore_color: bool = True, tolerance: float | None = None) -> None:
        self.palette = palette
        colors = list(palette.colors)
        if ignore_color and palette.ignore_color not in colors:  # beside its like it would make every margin there 0
            colors.append(palette.ignore_color)
        self._colors = torch.tensor(colors, dtype=torch.uint8)
        self.tolerance = _default_tolerance(colors) if tolerance is None else _checked(tolerance)
        self._counter = UnknownCounter()

    def __call__(self, image: Tensor, *, margin: bool) -> tuple[Tensor, Tensor | None]:
        """labels uint8 (H, W) and margin float32 (H, W), or None, of (3, H, W) in levels: uint8, or floating 0..255."""
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

    def table(self, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """labels uint8 (n,), margin float32 (n,) and whether it is unknown (n,), of a colour table uint8 (n, 3).

        Nothing is counted: see `add`.
        """
        image = torch.from_numpy(np.ascontiguousarray(colors.T)[:, None])
        labels, margin = self._decode(image, margin=True)
        assert margin is not None
        distance = (image[:, 0].float() - self._colors[labels[0].long()].T.float()).square().sum(0)
        return self._to_labels(labels)[0].numpy(), margin[0].numpy(), (distance > self.tolerance**2).numpy()

    def add(self, colors: np.ndarray, pixels: np.ndarray) -> None:
        """Count unknown colours uint8 (n, 3) that so many pixels (n,) have."""
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
        # No label is the ignore index here, K = 255 with the ignore colour included, whose index that is.
        painted = maskige_encode(labels, self._colors.to(image.device), ignore_index=-1, dtype=torch.uint8)
        return (painted != image).any(0)

    def _to_labels(self, labels: Tensor) -> Tensor:
        ignored = labels == self.palette.num_classes
        return labels.masked_fill_(ignored, self.palette.ignore_index).to(torch.uint8)


def _default_tolerance(colors: list[tuple[int, int, int]]) -> float:
    distances = (math.dist(a, b) for a, b in itertools.combinations(colors, 2))
    return min(MAX_TOLERANCE, min(distances, default=math.inf) / 2)


def _checked(tolerance: float) -> float:
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)):
        raise TypeError(f"unknown_tolerance: expected a number of levels or None, got {tolerance!r}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"unknown_tolerance: expected a number of at least 0, got {tolerance}")
    return float(tolerance)
