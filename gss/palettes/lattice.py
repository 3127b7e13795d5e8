"""The palettes of the paper: "posterior learning" of X as its authors' script does it, a regular grid with jitter.

It is the baseline that `gss.palettes.fit` is compared with. It is not an optimisation: no distance is measured, the
number of classes is that of a data set, and the grid's own smallest distance, 40 levels for 150 classes and 33 for 194,
shrinks under the jitter, to 15 to 21 levels.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from gss.palette import Color


@dataclass(frozen=True)
class Lattice:
    """The levels of each channel, the jitter's (smallest, largest) change, and how many first colours are left out."""

    red: tuple[int, ...]
    green: tuple[int, ...]
    blue: tuple[int, ...]
    jitter: tuple[int, int]
    left_out: int

    def grid(self) -> tuple[Color, ...]:
        """All colours before the jitter, blue changing fastest."""
        return tuple(itertools.product(self.red, self.green, self.blue))


LATTICES = {
    "ade20k": Lattice((15, 66, 117, 168, 219), (16, 56, 96, 136, 176, 216), (17, 62, 107, 152, 197), (-15, 15), 0),
    "mseg": Lattice(
        (15, 70, 125, 180, 235), (16, 67, 118, 169, 220), (17, 50, 83, 116, 149, 182, 215, 248), (-15, 0), 6
    ),
}


def lattice_palette(kind: str, seed: int) -> tuple[Color, ...]:
    """The 150 ("ade20k") or 194 ("mseg") colours that the authors' script prints when Python's generator has `seed`.

    Every channel of every colour, in the order red, green, blue, gets a uniform integer of the jitter's range. The
    released palettes come from such a draw and were edited by hand after it. Raises ValueError for another kind.
    """
    if kind not in LATTICES:
        raise ValueError(f"kind: expected one of {', '.join(LATTICES)}, got {kind!r}")
    lattice, generator = LATTICES[kind], random.Random(seed)
    low, high = lattice.jitter
    colors = []
    for red, green, blue in lattice.grid():
        colors.append(
            (
                red + generator.randint(low, high),
                green + generator.randint(low, high),
                blue + generator.randint(low, high),
            )
        )
    return tuple(colors[lattice.left_out :])
