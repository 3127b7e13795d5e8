"""Colours far apart: K integer points of the RGB cube whose smallest distance is as large as a search finds it.

The points of many starts repel each other, all sets at once, until the smallest distance is large; the best sets go on
and are moved to integers.
"""

from __future__ import annotations

import itertools

import numpy as np

from gss.palettes.spaces import Space, jacobian
from gss.palettes.starts import LEVELS, starting_points

FIRST_MOVES, NEXT_MOVES = 250, 600
# First exponent and first step in levels. Lattices keep their order under small steps and a large exponent; random
# points need the opposite to find one.
GENTLE, ROUGH = (60.0, 1.0), (12.0, 6.0)
LAST_POWER, LAST_STEP = 200.0, 0.02
FINALISTS = 2
INTEGER_POWERS = (40.0, 80.0, 160.0, 320.0, 640.0)
SWEEPS = 40

_NEIGHBOURS = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
_STAY = 13  # the row of (0, 0, 0)


def spread_colors(count: int, rng: np.random.Generator, *, fixed: np.ndarray, space: Space) -> np.ndarray:
    """`count` integer colours int64 (K, 3) in 0..255, far from each other and from the `fixed` ones (F, 3).

    Distances are measured in `space`. The order has no meaning.

    Example:
        >>> from gss.palettes.spaces import rgb
        >>> colors = spread_colors(2, np.random.default_rng(0), fixed=np.zeros((0, 3)), space=rgb)
        >>> abs(colors[0] - colors[1]).tolist()
        [255, 255, 255]
    """
    sets = np.stack([_without(fixed, start) for start in starting_points(count + len(fixed), rng)])
    disorder = np.linspace(0, 1, len(sets))[:, None, None]
    power, step = (gentle ** (1 - disorder) * rough**disorder for gentle, rough in zip(GENTLE, ROUGH, strict=True))
    sets = relax(sets, FIRST_MOVES, power=power, step=step, fixed=fixed, space=space)
    sets = _best(sets, fixed, space, max(4, len(sets) // 5))
    sets = relax(sets, NEXT_MOVES, power=GENTLE[0], step=GENTLE[1], fixed=fixed, space=space)
    finalists = [to_integers(colors, fixed, space) for colors in _best(sets, fixed, space, FINALISTS)]
    return _best(np.stack(finalists), fixed, space, 1)[0]


def relax(
    colors: np.ndarray,
    moves: int,
    *,
    power: float | np.ndarray,
    step: float | np.ndarray,
    fixed: np.ndarray,
    space: Space,
) -> np.ndarray:
    """Move S sets of K colours float64 (S, K, 3) apart inside the cube: the same shape.

    Args:
        power, step: the first exponent p and the first step in levels, numbers or one for each set (S, 1, 1).
        fixed: colours (F, 3) that do not move and repel the others too.

    The descent minimises log(sum over pairs of d^-p) / p, which approaches minus the log of the smallest distance as p
    grows. p grows and the step shrinks during the descent: all points share the room first, and the closest pairs
    decide at the end. The step is Adam's: its size does not depend on the force, so that points in open space move
    too.
    """
    sets, count, _ = colors.shape
    colors = colors.copy()
    mean, square = np.zeros_like(colors), np.zeros_like(colors)
    still = np.broadcast_to(fixed, (sets, *fixed.shape))
    itself = np.where(np.eye(count + len(fixed), dtype=bool), np.float32(np.inf), np.float32(0))
    # Forces act at slightly different places, less so with every step, to separate points in the same corner.
    offset = np.random.default_rng(0).normal(0, 0.1, (count, 3))
    for move in range(moves):
        part = move / max(moves - 1, 1)
        exponent = power ** (1 - part) * LAST_POWER**part / 2
        length = step ** (1 - part) * LAST_STEP**part
        points = space(np.concatenate([colors + length * offset, still], 1)).astype(np.float32)
        ratio = squared_distances(points)
        ratio += itself
        ratio /= np.maximum(ratio.min((1, 2), keepdims=True), np.float32(1e-12))
        # In float32 and in place, because the logarithm and the exponential take half of the time.
        np.log(np.maximum(ratio, np.float32(1e-6), out=ratio), out=ratio)
        ratio *= np.asarray(-(exponent + 1), np.float32)
        force = np.exp(ratio, out=ratio)
        total = force.sum(2, keepdims=True)
        pull = (force @ points - total * points) / total.sum(1, keepdims=True)
        gradient = np.einsum("skji,skj->ski", jacobian(space, colors), pull[:, :count].astype(np.float64))
        mean += 0.1 * (gradient - mean)
        square += 0.02 * (gradient**2 - square)
        size = np.sqrt(square / (1 - 0.98 ** (move + 1))) + 1e-12
        colors -= length * mean / (1 - 0.9 ** (move + 1)) / size
        np.clip(colors, 0, LEVELS, out=colors)
    return colors


def to_integers(colors: np.ndarray, fixed: np.ndarray, space: Space) -> np.ndarray:
    """Integer colours int64 (K, 3) near the colours float64 (K, 3), with about the same smallest distance.

    The colours are rounded. Then each moves to the one of its 27 integer neighbours with the smallest sum of d^-p,
    until none moves; then p grows. The best set on the way is returned.
    """
    count = len(colors)
    state = np.concatenate([np.rint(colors), fixed])
    best, best_distance = state.copy(), -1.0
    for power in INTEGER_POWERS:
        for _ in range(SWEEPS):
            distance = float(smallest_distances(state[None, :count], fixed, space)[0])
            if distance > best_distance:
                best, best_distance = state.copy(), distance
            points, moved = space(state), False
            for k in range(count):
                candidates = np.clip(state[k] + _NEIGHBOURS, 0, LEVELS)
                places = space(candidates)
                squared = ((places[:, None] - points) ** 2).sum(2)
                squared[:, k] = np.inf
                energy = ((max(distance, 1e-9) ** 2 / np.maximum(squared, 1e-12)) ** (power / 2)).sum(1)
                choice = int(energy.argmin())
                if energy[choice] < energy[_STAY] * (1 - 1e-9):
                    state[k], points[k], moved = candidates[choice], places[choice], True
            if not moved:
                break
    return best[:count].astype(np.int64)


def smallest_distances(colors: np.ndarray, fixed: np.ndarray, space: Space) -> np.ndarray:
    """The smallest distance in each of S sets (S, K, 3), including those to the fixed colours (F, 3): float64 (S,)."""
    everything = np.concatenate([colors, np.broadcast_to(fixed, (len(colors), *fixed.shape))], 1).astype(np.float64)
    squared = squared_distances(space(everything))
    squared += np.where(np.eye(everything.shape[1], dtype=bool), np.inf, 0)
    return np.sqrt(squared[:, : colors.shape[1]].min((1, 2)))


def squared_distances(points: np.ndarray) -> np.ndarray:
    """All squared distances in each of S sets of N points (S, N, 3): (S, N, N), of the same dtype."""
    centred = points - points.mean(1, keepdims=True)  # smaller numbers lose fewer digits in the difference below
    norms = (centred**2).sum(2)
    squared = centred @ (-2 * centred.transpose(0, 2, 1))
    squared += norms[:, :, None]
    squared += norms[:, None, :]
    return np.maximum(squared, 0, out=squared)


def _without(fixed: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The points (N, 3) without those closest to the fixed ones (F, 3), whose places are taken: (N - F, 3)."""
    for color in fixed:
        points = np.delete(points, ((points - color) ** 2).sum(1).argmin(), axis=0)
    return points


def _best(sets: np.ndarray, fixed: np.ndarray, space: Space, count: int) -> np.ndarray:
    """The `count` sets with the largest smallest distance, the best first."""
    return sets[np.argsort(-smallest_distances(sets, fixed, space), kind="stable")[:count]]
