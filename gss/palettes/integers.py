"""The last part of the search: from points in the cube to integer colours, without giving the distance away."""

from __future__ import annotations

import numpy as np

from gss.palettes.descent import LEVELS, smallest_distances
from gss.palettes.spaces import Space

POWERS = (40.0, 80.0, 160.0, 320.0, 640.0)
SWEEPS = 40
_NEIGHBOURS = np.array([(r, g, b) for r in (-1, 0, 1) for g in (-1, 0, 1) for b in (-1, 0, 1)])
_STAY = 13  # the row of (0, 0, 0)


def to_integers(colors: np.ndarray, fixed: np.ndarray, space: Space) -> np.ndarray:
    """Colours float64 (K, 3) as integer colours int64 (K, 3) near them, far apart; arguments as of `relax`.

    They are rounded. Then each moves to that of the 27 integer colours around it where its sum of d^-p is least, until
    none moves; then p grows. The best set on the way is returned.
    """
    count = len(colors)
    state = np.concatenate([np.rint(colors), fixed])
    best, best_distance = state.copy(), -1.0
    for power in POWERS:
        for _ in range(SWEEPS):
            distance = float(smallest_distances(state[None, :count], fixed, space)[0])
            if distance > best_distance:
                best, best_distance = state.copy(), distance
            if not _sweep(state, count, power, distance, space):
                break
    return best[:count].astype(np.int64)


def _sweep(state: np.ndarray, count: int, power: float, distance: float, space: Space) -> bool:
    """Moves each of the first `count` colours of `state` (N, 3) once, in place; whether any of them did move."""
    points = space.points(state)
    smallest = max(distance, 1e-9) ** 2
    moved = False
    for k in range(count):
        candidates = np.clip(state[k] + _NEIGHBOURS, 0, LEVELS)
        places = space.points(candidates)
        ratio = ((places[:, None] - points) ** 2).sum(2)
        ratio[:, k] = np.inf
        energy = ((smallest / np.maximum(ratio, 1e-12)) ** (power / 2)).sum(1)
        choice = int(energy.argmin())
        if energy[choice] < energy[_STAY] * (1 - 1e-9):
            state[k], points[k], moved = candidates[choice], places[choice], True
    return moved
