"""Colours far apart: K integer points of the RGB cube whose smallest distance is as large as a search finds it.

Whoever keeps K points d apart in a cube of side 255 packs K spheres of diameter d into a cube of side 255 + d, and no
packing of space is denser than pi / sqrt(18) (T. Hales, 2005), which the face-centred cubic lattice reaches. So the
search starts from such lattices, cut to the cube, and from random points (`starts.py`), lets the points repel each
other (`descent.py`), goes on with the best, throws single points elsewhere to fill what holes are left, and ends on
integers (`integers.py`).
"""

from __future__ import annotations

import math

import numpy as np

from gss.palettes.descent import LEVELS, relax, smallest_distances
from gss.palettes.integers import to_integers
from gss.palettes.spaces import Space
from gss.palettes.starts import starting_points

FIRST_MOVES, NEXT_MOVES, HOP_MOVES = 250, 600, 300
HOPS = 10
# (exponent, step in levels) of the first move: orderly starts are treated gently, random ones have to find their order.
GENTLE, ROUGH = (60.0, 1.0), (12.0, 6.0)
FINALISTS = 2


def spread_colors(count: int, rng: np.random.Generator, *, fixed: np.ndarray, space: Space) -> np.ndarray:
    """`count` integer colours int64 (K, 3) in 0..255, far from each other and from the `fixed` ones (F, 3).

    Distances are those of `space`. The order has no meaning.
    """
    sets = np.stack([_without(fixed, start) for start in starting_points(count + len(fixed), rng)])
    disorder = np.linspace(0, 1, len(sets))[:, None, None]
    power, step = (gentle ** (1 - disorder) * rough**disorder for gentle, rough in zip(GENTLE, ROUGH, strict=True))
    sets = relax(sets, FIRST_MOVES, power=power, step=step, fixed=fixed, space=space)
    sets, _ = _best(sets, smallest_distances(sets, fixed, space), max(4, len(sets) // 5))
    sets = relax(sets, NEXT_MOVES, power=GENTLE[0], step=GENTLE[1], fixed=fixed, space=space)
    sets, distances = _best(sets, smallest_distances(sets, fixed, space), len(sets))
    for _ in range(HOPS):
        hopped = _hop(sets[0], len(sets), rng)
        hopped = relax(hopped, HOP_MOVES, power=GENTLE[0], step=2 * GENTLE[1], fixed=fixed, space=space)
        distances = np.concatenate([distances, smallest_distances(hopped, fixed, space)])
        sets, distances = _best(np.concatenate([sets, hopped]), distances, len(sets))
    finalists = np.stack([to_integers(colors, fixed, space) for colors in sets[:FINALISTS]])
    return finalists[int(smallest_distances(finalists, fixed, space).argmax())]


def distance_bound(count: int) -> float:
    """No `count` colours of the RGB cube are all farther apart than this many levels; inf for one colour.

    From the density of sphere packings, see above; for few colours the diagonal of the cube is less.
    """
    if count < 2:
        return math.inf
    # count * (pi / 6) * d^3 <= pi / sqrt(18) * (255 + d)^3
    side = (count / math.sqrt(2)) ** (1 / 3)
    packing = LEVELS / (side - 1) if side > 1 else math.inf
    return min(packing, LEVELS * math.sqrt(3))


def _without(fixed: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The points (N, 3) without those closest to the fixed ones (F, 3), whose places are taken: (N - F, 3)."""
    for color in fixed:
        points = np.delete(points, ((points - color) ** 2).sum(1).argmin(), axis=0)
    return points


def _best(sets: np.ndarray, distances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` sets of the largest smallest distance, the best first, and these distances."""
    order = np.argsort(-distances, kind="stable")[:count]
    return sets[order], distances[order]


def _hop(colors: np.ndarray, sets: int, rng: np.random.Generator) -> np.ndarray:
    """Variants (S, K, 3) of one set (K, 3): one to three colours at new places, all a little shaken."""
    variants = np.repeat(colors[None], sets, 0)
    for variant in variants:
        moved = rng.choice(len(colors), min(len(colors), int(rng.integers(1, 4))), replace=False)
        variant[moved] = rng.uniform(0, LEVELS, (len(moved), 3))
        variant += rng.normal(0, rng.uniform(0, 6), variant.shape)
    return np.clip(variants, 0, LEVELS)
