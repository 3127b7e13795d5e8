"""Palettes by optimisation: colours as far apart as the RGB cube allows.

A palette is the X of the paper (arXiv 2303.11316, section 3.2): the farther apart its colours, the larger the error of
a maskige that X^-1 still corrects. The paper calls this the maximal distance assumption.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gss.palette import MAX_CLASSES, Color, Palette
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

    classes: K, or the K names.
    seed: the same seed gives the same palette on one machine; another machine's rounding may lead elsewhere.
    space: where distances are measured. "rgb" is where X^-1 decides, so what survives a tokenizer; "oklab" makes
        colours that people tell apart, at a smaller distance in RGB.
    ignore_color: the colour of pixels without a class, from which the classes then keep the same distance. None lets
        the classes have the whole cube, and takes the colour farthest from all of them.

    The first n colours are far apart too. The search takes from 1 s (19 classes) to 10 s (200 classes) on one core.
    Raises ValueError or TypeError for wrong values.
    """
    names = _class_names(classes)
    if space not in SPACES:
        raise ValueError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
    # Wrong names or a wrong ignore colour are told now, not after the search.
    Palette(
        name, names, tuple((k, 0, 0) for k in range(len(names))), (0, 0, 0) if ignore_color is None else ignore_color
    )
    rng = np.random.default_rng(seed)
    measure = SPACES[space]
    fixed = np.zeros((0, 3)) if ignore_color is None else np.array([ignore_color], np.float64)
    colors = spread_colors(len(names), rng, fixed=fixed, space=measure)
    ignored = np.array(ignore_color) if ignore_color is not None else emptiest_color(colors, measure)
    colors = farthest_first(colors, ignored, measure)
    return Palette(name, names, _rows(colors), _rows(ignored[None])[0])


def farthest_first(colors: np.ndarray, origin: np.ndarray, space: Space) -> np.ndarray:
    """The colours (K, 3) in an order in which each is the one farthest from `origin` (3,) and all before it."""
    colors = colors[np.lexsort(colors.T[::-1])]
    points = space.points(colors.astype(np.float64))
    nearest = np.linalg.norm(points - space.points(origin.astype(np.float64)), axis=1)
    order = []
    for _ in range(len(colors)):
        k = int(nearest.argmax())
        order.append(k)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[k], axis=1))
        nearest[order] = -1
    return colors[order]


def emptiest_color(colors: np.ndarray, space: Space) -> np.ndarray:
    """The colour int64 (3,) farthest from all `colors` (K, 3), among every fifth level of each channel."""
    levels = np.arange(0, 256, 5)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    points = space.points(grid.astype(np.float64))
    nearest = np.full(len(grid), np.inf)
    for point in space.points(colors.astype(np.float64)):
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


def _rows(colors: np.ndarray) -> tuple[Color, ...]:
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colors)
