"""The smooth part of the search: points in the RGB cube that repel each other until the smallest distance is large.

What descends is log(sum over pairs of d^-p) / p, which for p to infinity is minus the log of the smallest distance.
The exponent grows during the descent, so that all points share the room first and the closest pairs decide at the end.
"""

from __future__ import annotations

import numpy as np

from gss.palettes.spaces import Space

LEVELS = 255.0  # the side of the cube
LAST_POWER, LAST_STEP = 200.0, 0.02

Numbers = float | np.ndarray


def relax(
    colors: np.ndarray, moves: int, *, power: Numbers, step: Numbers, fixed: np.ndarray, space: Space
) -> np.ndarray:
    """S sets of K colours float64 (S, K, 3), moved apart inside the cube, all sets at once: the same shape.

    fixed: colours (F, 3) that stay, and from which the others keep away too.
    power, step: the first exponent and the first step in levels, numbers or one a set (S, 1, 1). Small exponents and
        large steps find a new order, large exponents and small steps keep the one there is.

    The step is Adam's: its size does not depend on the force, so that points in the open move too.
    """
    sets, count, _ = colors.shape
    colors = colors.copy()
    mean, square = np.zeros_like(colors), np.zeros_like(colors)
    still = np.broadcast_to(fixed, (sets, *fixed.shape))
    itself = np.where(np.eye(count + len(fixed), dtype=bool), np.float32(np.inf), np.float32(0))
    # Forces act at slightly different places, less so with every step, so that points in one corner come apart again.
    off = np.random.default_rng(0).normal(0, 0.1, (count, 3))
    for move in range(moves):
        part = move / max(moves - 1, 1)
        exponent = _between(power, LAST_POWER, part) / 2
        length = _between(step, LAST_STEP, part)
        points = space.points(np.concatenate([colors + length * off, still], 1)).astype(np.float32)
        ratio = squared_distances(points)
        ratio += itself
        ratio /= np.maximum(ratio.min((1, 2), keepdims=True), np.float32(1e-12))
        # In float32 and in place: the logarithm and the exponential are half of the time.
        np.log(np.maximum(ratio, np.float32(1e-6), out=ratio), out=ratio)
        ratio *= np.asarray(-(exponent + 1), np.float32)
        force = np.exp(ratio, out=ratio)
        total = force.sum(2, keepdims=True)
        pull = (force @ points - total * points) / total.sum(1, keepdims=True)
        gradient = np.einsum("skji,skj->ski", space.jacobian(colors), pull[:, :count].astype(np.float64))
        mean += 0.1 * (gradient - mean)
        square += 0.02 * (gradient**2 - square)
        size = np.sqrt(square / (1 - 0.98 ** (move + 1))) + 1e-12
        colors -= length * mean / (1 - 0.9 ** (move + 1)) / size
        np.clip(colors, 0, LEVELS, out=colors)
    return colors


def smallest_distances(colors: np.ndarray, fixed: np.ndarray, space: Space) -> np.ndarray:
    """The smallest distance in each of S sets (S, K, 3), those to the fixed colours (F, 3) included: float64 (S,)."""
    everything = np.concatenate([colors, np.broadcast_to(fixed, (len(colors), *fixed.shape))], 1).astype(np.float64)
    squared = squared_distances(space.points(everything))
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


def _between(first: Numbers, last: float, part: float) -> Numbers:
    """From the first to the last number, geometrically, as `part` goes from 0 to 1."""
    return first ** (1 - part) * last**part
