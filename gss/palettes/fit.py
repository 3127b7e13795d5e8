"""Palettes by optimisation: colours as far apart as the RGB cube allows.

A palette is the X of the paper (arXiv 2303.11316, section 3.2). The farther apart its colours, the larger the error of
a maskige that X^-1 undoes. The paper asks for maximal distance; this is the search for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gss.palette import BLACK, MAX_CLASSES, Color, Palette
from gss.palettes.spaces import SPACES, Space
from gss.palettes.spread import spread_colors


def fit_palette(
    classes: int | Sequence[str],
    *,
    name: str = "fitted",
    seed: int = 0,
    space: str = "rgb",
    ignore_color: Color | None = None,
) -> Palette:
    """A palette of K = 2..255 colours whose smallest distance is as large as the search finds it.

    Args:
        classes: K, or the K names.
        seed: the same seed gives the same palette on one machine; rounding may differ on another one.
        space: where distances are measured. X^-1 works in "rgb", so "rgb" decides what survives a tokenizer. "oklab"
            gives colours that people tell apart, at a smaller distance in RGB.
        ignore_color: the colour of pixels without a class, from which the classes then keep the same distance. With
            None the classes use the whole cube, and the ignore colour is the one farthest from all of them.

    The colours are ordered by distance: the first n of them are far apart too. The search takes from a second (19
    classes) to 10 s (200 classes) on one core. Raises ValueError or TypeError for wrong values.

    Example:
        >>> fit_palette(["road", "sky"]).min_distance()[0] > 441
        True
    """
    names = _class_names(classes)
    if space not in SPACES:
        raise ValueError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
    # Wrong names or a wrong ignore colour are refused before the search.
    Palette(
        name, names, tuple((k, 0, 0) for k in range(len(names))), ignore_color if ignore_color is not None else BLACK
    )
    fixed = np.zeros((0, 3)) if ignore_color is None else np.array([ignore_color], np.float64)
    colors = spread_colors(len(names), np.random.default_rng(seed), fixed=fixed, space=SPACES[space])
    ignored = np.array(ignore_color) if ignore_color is not None else emptiest_color(colors, SPACES[space])
    rows = [(int(r), int(g), int(b)) for r, g, b in farthest_first(colors, ignored, SPACES[space])]
    red, green, blue = ignored.tolist()
    return Palette(name, names, tuple(rows), (red, green, blue))


def farthest_first(colors: np.ndarray, origin: np.ndarray, space: Space) -> np.ndarray:
    """The colours (K, 3) in an order where each is the one farthest from `origin` (3,) and from all before it."""
    colors = colors[np.lexsort(colors.T[::-1])]
    points = space(colors.astype(np.float64))
    nearest = np.linalg.norm(points - space(origin.astype(np.float64)), axis=1)
    order: list[int] = []
    for _ in range(len(colors)):
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[order[-1]], axis=1))
        nearest[order] = -1
    return colors[order]


def emptiest_color(colors: np.ndarray, space: Space) -> np.ndarray:
    """The colour int64 (3,) farthest from all `colors` (K, 3), among every fifth level of each channel."""
    grid = 5 * np.indices((52, 52, 52)).reshape(3, -1).T
    points = space(grid.astype(np.float64))
    nearest = np.full(len(grid), np.inf)
    for point in space(colors.astype(np.float64)):
        nearest = np.minimum(nearest, ((points - point) ** 2).sum(1))
    return grid[int(nearest.argmax())]


def _class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    expected = f"classes: expected a number from 2 to {MAX_CLASSES} or as many names"
    if isinstance(classes, (str, bool)):
        raise TypeError(f"{expected}, got {classes!r}")
    count = classes if isinstance(classes, int) else len(classes)
    if not 2 <= count <= MAX_CLASSES:
        raise ValueError(f"{expected}, got {count}")
    return tuple(f"class {k}" for k in range(count)) if isinstance(classes, int) else tuple(classes)
