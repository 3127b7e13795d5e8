"""The colours of a picture that are near no palette colour, counted exactly in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gss.palette import Color

SHOWN = 64  # colours in the list, SHOWN_IN_MESSAGE in an error
SHOWN_IN_MESSAGE = 8


@dataclass(frozen=True)
class UnknownColors:
    """Colours farther than `tolerance` levels (Euclidean) from every colour of the palette.

    tolerance: in levels.
    pixels: the number of pixels with such a colour.
    distinct: the number of such colours.
    colors: the most frequent ones, at most `SHOWN`, as ((r, g, b), pixels): most frequent first, equally frequent ones
        by colour.

    >>> print(UnknownColors(16.0, 5, 2, (((0, 0, 255), 4), ((9, 9, 9), 1))))
    5 pixels farther than 16 levels from every colour: (0, 0, 255): 4 pixels; (9, 9, 9): 1 pixels
    """

    tolerance: float
    pixels: int
    distinct: int
    colors: tuple[tuple[Color, int], ...]

    def __str__(self) -> str:
        listed = self.colors[:SHOWN_IN_MESSAGE]
        shown = "; ".join(f"{color}: {count} pixels" for color, count in listed)
        more = f"; and {self.distinct - len(listed)} more colours" if self.distinct > len(listed) else ""
        return f"{self.pixels} pixels farther than {self.tolerance:g} levels from every colour: {shown}{more}"


class UnknownCounter:
    """Counts 8-bit colours. The first one allocates a counter for each of the 2^24 colours, 128 MB in all."""

    def __init__(self) -> None:
        self._counts: np.ndarray | None = None

    def add(self, colors: np.ndarray, pixels: np.ndarray | int = 1) -> None:
        """Count colours uint8 (n, 3) of so many pixels each, int64 (n,) or one number for all."""
        if self._counts is None:
            self._counts = np.zeros(1 << 24, np.int64)
        wide = colors.astype(np.intp)
        np.add.at(self._counts, wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2], pixels)

    def result(self, tolerance: float) -> UnknownColors:
        """Everything counted so far; `tolerance` is noted in it."""
        if self._counts is None:
            return UnknownColors(tolerance, 0, 0, ())
        found = np.flatnonzero(self._counts)
        counts = self._counts[found]
        colors: list[tuple[Color, int]] = []
        pixels = int(counts.sum())
        # One search a colour: a sort would need several copies of up to 2^24 counts.
        for _ in range(min(SHOWN, len(found))):
            best = int(counts.argmax())
            packed = int(found[best])
            colors.append(((packed >> 16, packed >> 8 & 255, packed & 255), int(counts[best])))
            counts[best] = 0
        return UnknownColors(tolerance, pixels, len(found), tuple(colors))
