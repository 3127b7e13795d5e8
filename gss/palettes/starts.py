"""Where the search for colours far apart begins: dense lattices cut to the RGB cube, and random points."""

from __future__ import annotations

import itertools

import numpy as np

from gss.palettes.descent import LEVELS

PAIR_BUDGET = 1_000_000  # pairs of points in all starts together: what a step of the relaxation costs
STARTS = (8, 96)  # fewest and most starts

# Lattices by their basis rows, scaled to a nearest distance of 1. Face-centred cubic is the densest one there is;
# body-centred cubic is thinner, but fits some cubes better.
_LATTICES = (
    np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt(2),
    np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3),
)


def starting_points(count: int, rng: np.random.Generator) -> np.ndarray:
    """Starts float64 (S, K, 3) in the cube, the orderly ones first: checkered grids, turned lattices, random points."""
    total = int(np.clip(PAIR_BUDGET // count**2, *STARTS))
    starts = [thinned(grid, count, rng) for grid in checkered_grids(count)[: max(2, total // 4)]]
    turned = total // 2 if count > 8 else 0
    starts += [turned_lattice(count, _LATTICES[int(rng.random() < 0.3)], rng) for _ in range(turned)]
    starts += [rng.uniform(0, LEVELS, (count, 3)) for _ in range(total - len(starts))]
    jitter = rng.normal(0, 0.3, (total, count, 3))  # points that sit exactly opposite feel no force
    return np.clip(np.stack(starts) + jitter, 0, LEVELS)


def checkered_grids(count: int) -> list[np.ndarray]:
    """The cells of one colour of three-dimensional chess boards that touch all faces of the cube, the widest first.

    With equal steps along the axes this is the face-centred cubic lattice. Only boards with at least `count` cells and
    few to spare are listed.
    """
    boards = []
    for shape in itertools.combinations_with_replacement(range(2, 17), 3):
        cells = -(-shape[0] * shape[1] * shape[2] // 2)
        if count <= cells <= count * 1.35 + 2:
            step = LEVELS / (np.array(shape) - 1)
            near = np.sort(step)[:2]
            width = min(float(np.hypot(*near)), 2 * float(near[0]))
            boards.append((-width, shape, step))
    grids = []
    for _, shape, step in sorted(boards, key=lambda board: board[:2]):
        index = np.indices(shape).reshape(3, -1).T
        grids.append(index[index.sum(1) % 2 == 0] * step)
    return grids


def turned_lattice(count: int, basis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`count` points of a lattice with a random rotation and offset, as wide as the cube allows."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    index = np.indices((25, 25, 25)).reshape(3, -1).T - 12
    points = (index + rng.random(3)) @ basis @ rotation
    # Points a little outside are pulled onto the faces, where a packing wants to have many.
    reach = np.sort(np.abs(points).max(1))[count - 1]
    room = rng.uniform(0.0, 0.35)
    inside = points[np.abs(points).max(1) <= reach + room]
    return thinned(np.clip(LEVELS / 2 * (1 + inside / (reach or 1.0)), 0, LEVELS), count, rng)


def thinned(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the points: again and again one of the closest two goes, at random among equally close ones."""
    offsets = points[:, None] - points
    distance = (offsets**2).sum(2)
    np.fill_diagonal(distance, np.inf)
    kept = list(range(len(points)))
    while len(kept) > count:
        nearest = distance[np.ix_(kept, kept)].min(1)
        crowded = np.flatnonzero(nearest <= nearest.min() * (1 + 1e-9))
        kept.pop(int(rng.choice(crowded)))
    return points[kept]
