"""Which class gets which colour: the set of colours stays, and with it the smallest distance; only the order changes.

Two goals, for pairs of classes that have a weight because they are mistaken for each other or touch:

distance    heavy pairs get colours far apart, which protects them from noise
blend       where two classes touch, a tokenizer that blurs paints a blend of their colours, and X^-1 finds a third
            class there if its colour is near. Heavy pairs get colours that have no third one between them; a tenth of
            the cost is distance

The goals are opposed, since far colours have more between them. Measured on every fourth label map of CamVid's val
split, 11 fitted colours ordered by the train split, mIoU after a 4 x 4 blur and noise of 0, 40, 80 levels:

    distance 79.9, 69.1, 35.7    blend 88.9, 71.7, 33.6    mean of four random orders 84.2, 70.6, 33.9

With a trained tokenizer blend is ahead as well, by 2.8 and 3.8 points of reconstruct-only mIoU for two seeds
(docs/results.md), so it is the default.

(Moving the colours as well, so that heavy pairs get more room, was tried: the smallest distance fell by a tenth and
more, and the heavy pairs gained nothing.)

Finding the best order is the quadratic assignment problem. The search swaps two colours at a time, always the two that
gain the most, and starts anew from the best order, shaken, when no swap gains anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GOALS = ("distance", "blend")
RESTARTS = (40, 1000)  # for hundreds of classes and for a few
BLENDS = 15  # mixtures of two colours that are looked at
BLEND_DISTANCE = 0.1  # weight of the distance in the goal "blend"


@dataclass(frozen=True)
class PairReport:
    """How well the pairs of classes that matter are placed.

    `mean_distance` is the mean over pairs, each counting by its weight; `smallest_distance` that among the heaviest
    pairs that together have half of all weight. `blended_away` is the share, 0..1 and weighted too, of blends of two
    classes that are nearest to the colour of a third.
    """

    mean_distance: float
    smallest_distance: float
    blended_away: float


def pair_weights(counts: np.ndarray) -> np.ndarray:
    """How much each pair of classes matters, from counts (K, K): symmetric float64 (K, K), zero diagonal, sum 1.

    `counts` is a confusion matrix (rows are target classes), or how often two classes touch. The weight of a pair is
    the share of the one's row that falls on the other, plus the reverse, so that rare classes count as much as
    frequent ones: so they do in a mean IoU. Raises ValueError for negative counts, another shape, or a matrix that has
    nothing off its diagonal.
    """
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"counts: expected a square matrix (K, K), got shape {counts.shape}")
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("counts: expected finite numbers of at least 0")
    totals = counts.sum(1, keepdims=True)
    share = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    weights = share + share.T
    np.fill_diagonal(weights, 0)
    if weights.sum() == 0:
        raise ValueError("counts: expected a pair of different classes with a count above 0, got none")
    return weights / weights.sum()


def assign_colors(cost: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The order of K colours that lowers the sum over pairs of classes of weight * cost: class k gets colour order[k].

    cost: of giving two colours to a pair of classes of weight 1, see `distance_cost` and `blend_cost`.
    weights: of pairs of classes. Both are symmetric with a zero diagonal (K, K). Returns int64 (K,).
    """
    count = len(cost)
    best = _improve(np.arange(count), weights, cost)
    for _ in range(int(np.clip(400_000 // count**2, *RESTARTS))):
        order = best.copy()
        shaken = rng.choice(count, min(count, int(rng.integers(3, max(5, count // 4)))), replace=False)
        order[shaken] = order[rng.permutation(shaken)]
        order = _improve(order, weights, cost)
        if _total(order, weights, cost) < _total(best, weights, cost) * (1 - 1e-12):
            best = order
    return best


def goal_cost(goal: str, colors: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The cost (K, K) that belongs to a goal, for RGB levels (K, 3) and where they are in a colour space (K, 3)."""
    if goal == "distance":
        return distance_cost(points)
    return blend_cost(colors) + BLEND_DISTANCE * distance_cost(points)


def distance_cost(points: np.ndarray) -> np.ndarray:
    """(smallest distance / distance)^2 of each two of K points (K, 3): (K, K), 0..1. What is far gains little."""
    squared = ((points[:, None] - points) ** 2).sum(2).astype(np.float64)
    np.fill_diagonal(squared, np.inf)
    return squared.min() / squared


def blend_cost(colors: np.ndarray) -> np.ndarray:
    """The share of the blends of each two of K colours (K, 3) that are nearest to a third: (K, K), 0..1."""
    parts = np.arange(1, BLENDS + 1)[:, None, None] / (BLENDS + 1)
    norms = (colors.astype(np.float64) ** 2).sum(1)
    index = np.arange(len(colors))
    cost = np.zeros((len(colors),) * 2)
    for k, color in enumerate(colors):
        blends = parts * color + (1 - parts) * colors  # (BLENDS, K, 3)
        nearest = (norms - 2 * blends @ colors.T).argmin(2)
        cost[k] = ((nearest != k) & (nearest != index)).mean(0)
    return (cost + cost.T) / 2  # a tie may go either way


def pair_report(colors: np.ndarray, points: np.ndarray, weights: np.ndarray) -> PairReport:
    """How classes k with the levels `colors[k]`, at `points[k]` in the space of distances, are placed; (K, 3) each."""
    first, second = np.triu_indices(len(points), 1)
    distance = np.linalg.norm(points[first] - points[second], axis=1)
    weight = weights[first, second] / weights[first, second].sum()
    heaviest = np.argsort(-weight, kind="stable")
    half = heaviest[: int(np.searchsorted(np.cumsum(weight[heaviest]), 0.5)) + 1]
    blended = (weight * blend_cost(colors)[first, second]).sum()
    return PairReport(float((weight * distance).sum()), float(distance[half].min()), float(blended))


def _improve(order: np.ndarray, weights: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The order after swaps of two, the most profitable first, until none gains."""
    order = order.copy()
    while True:
        placed = cost[np.ix_(order, order)]
        # What swapping i and j changes, halved: sum over k of (w_ik - w_jk)(c_jk - c_ik), without k = i and k = j.
        product = weights @ placed
        own = product.diagonal()
        change = product + product.T - own[:, None] - own + 2 * weights * placed
        i, j = np.unravel_index(int(change.argmin()), change.shape)
        if change[i, j] >= -1e-12 * abs(_total(order, weights, cost)):
            return order
        order[[i, j]] = order[[j, i]]


def _total(order: np.ndarray, weights: np.ndarray, cost: np.ndarray) -> float:
    return float((weights * cost[np.ix_(order, order)]).sum())
