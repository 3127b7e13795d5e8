"""Starting points of the search for colours far apart: dense lattices cut to the RGB cube, and random points.

K points with distance d in a cube of side 255 are a packing of K spheres of diameter d into a cube of side 255 + d. The
densest packing of space is the face-centred cubic lattice (T. Hales, 2005), so pieces of lattices are good starts.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

LEVELS = 255.0  # the side of the RGB cube
PAIR_BUDGET = 1_000_000  # pairs of points in all starts together, which decide the time of a move
STARTS = (8, 96)  # fewest and most starts

# Lattices by their basis rows, scaled to a nearest distance of 1. The face-centred cubic lattice is the densest one,
# the body-centred one fits some cubes better.
_LATTICES = (
    np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt(2),
    np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3),
)


def distance_bound(count: int) -> float:
    """An upper bound: `count` colours of the RGB cube cannot all be farther apart than this many levels.

    The bound follows from the density pi / sqrt(18) of the densest sphere packing, or is the diagonal of the cube if
    that is shorter; inf for one colour.

    Example:
        >>> round(distance_bound(2), 1), round(distance_bound(150), 1)
        (441.7, 68.3)
    """
    if count < 2:
        return math.inf
    # count * (pi / 6) * d^3 <= pi / sqrt(18) * (255 + d)^3
    side = (count / math.sqrt(2)) ** (1 / 3)
    return min(LEVELS / (side - 1) if side > 1 else math.inf, LEVELS * math.sqrt(3))


def starting_points(count: int, rng: np.random.Generator) -> np.ndarray:
    """Sets of points float64 (S, K, 3) in the cube, from orderly to random: checkered grids, turned lattices, noise."""
    total = int(np.clip(PAIR_BUDGET // count**2, *STARTS))
    starts = [thinned(grid, count, rng) for grid in checkered_grids(count)[: max(2, total // 4)]]
    turned = total // 2 if count > 8 else 0
    starts += [turned_lattice(count, _LATTICES[int(rng.random() < 0.3)], rng) for _ in range(turned)]
    starts += [rng.uniform(0, LEVELS, (count, 3)) for _ in range(total - len(starts))]
    jitter = rng.normal(0, 0.3, (total, count, 3))  # the forces on a symmetric set of points cancel out
    return np.clip(np.stack(starts) + jitter, 0, LEVELS)


def checkered_grids(count: int) -> list[np.ndarray]:
    """The cells of one colour of three-dimensional chess boards that touch all faces of the cube, the widest first.

    With equal steps along the axes this is the face-centred cubic lattice. Only boards with at least `count` cells and
    not many more are listed.
    """
    boards = []
    for shape in itertools.combinations_with_replacement(range(2, 17), 3):
        cells = -(-shape[0] * shape[1] * shape[2] // 2)
        if count <= cells <= count * 1.35 + 2:
            step = LEVELS / (np.array(shape) - 1)
            near = np.sort(step)[:2]
            boards.append((-min(float(np.hypot(*near)), 2 * float(near[0])), shape, step))
    grids = []
    for _, shape, step in sorted(boards, key=lambda board: board[:2]):
        index = np.indices(shape).reshape(3, -1).T
        grids.append(index[index.sum(1) % 2 == 0] * step)
    return grids


def turned_lattice(count: int, basis: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`count` points of a lattice with a random rotation and offset, as wide as the cube allows: (K, 3)."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    index = np.indices((25, 25, 25)).reshape(3, -1).T - 12
    points = (index + rng.random(3)) @ basis @ rotation
    # Points slightly outside are moved onto the faces, because good packings have many points there.
    reach = np.sort(np.abs(points).max(1))[count - 1]
    inside = points[np.abs(points).max(1) <= reach + rng.uniform(0.0, 0.35)]
    return thinned(np.clip(LEVELS / 2 * (1 + inside / (reach or 1.0)), 0, LEVELS), count, rng)


def thinned(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the points (N, 3): one of the two closest points is removed again and again, at random on ties."""
    distance = ((points[:, None] - points) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    kept = list(range(len(points)))
    while len(kept) > count:
        nearest = distance[np.ix_(kept, kept)].min(1)
        kept.pop(int(rng.choice(np.flatnonzero(nearest <= nearest.min() * (1 + 1e-9)))))
    return points[kept]
