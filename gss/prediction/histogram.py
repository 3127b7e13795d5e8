"""Right and wrong pixels counted by a score: constant memory for any number of pixels, and no sort.

A score tells how sure a decision is; larger is surer. The counts give every measure that depends on the order of the
pixels alone: how well the score finds errors (AUROC), and the errors left when unsure pixels are left out (risk and
coverage; El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# A bin is a float32 without its last 14 bits. That leaves 9 bits of mantissa: a bin is at most 0.2 % wide at any size.
DROPPED_BITS = 14
BINS = 1 << (32 - DROPPED_BITS)
LARGEST = torch.finfo(torch.float32).max


class Levels(NamedTuple):
    """The scores that occur, rising.

    score: float64 (N,), the middle of each bin.
    right, wrong: float64 (N,), the pixels of each bin.
    """

    score: Tensor
    right: Tensor
    wrong: Tensor


class ScoreHistogram:
    """Counts of right and wrong pixels by score, int64 (BINS,) each. Scores in one bin count as equal.

    >>> histogram = ScoreHistogram()
    >>> histogram.update(torch.tensor([0.2, 0.9, 0.9]), torch.tensor([False, True, True]))
    >>> levels = histogram.levels()
    >>> levels.right.tolist(), levels.wrong.tolist(), auroc(levels)
    ([0.0, 2.0], [1.0, 0.0], 1.0)
    """

    def __init__(self) -> None:
        self.right = torch.zeros(BINS, dtype=torch.int64)
        self.wrong = torch.zeros(BINS, dtype=torch.int64)

    def update(self, score: Tensor, correct: Tensor) -> None:
        """Add pixels: `score` floating and `correct` bool, of one shape, on any device.

        NaN counts as the least sure, infinities as the largest finite float32.

        Raises:
            TypeError: other dtypes.
            ValueError: different shapes.
        """
        if not score.is_floating_point() or correct.dtype != torch.bool:
            raise TypeError(f"score, correct: expected floating point and bool, got {score.dtype} and {correct.dtype}")
        if score.shape != correct.shape:
            raise ValueError(f"correct: expected the score's shape {tuple(score.shape)}, got {tuple(correct.shape)}")
        bins = _bin_of(score)
        self.right += torch.bincount(bins[correct], minlength=BINS).cpu()
        self.wrong += torch.bincount(bins[~correct], minlength=BINS).cpu()

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        total = ScoreHistogram()
        total.right, total.wrong = self.right + other.right, self.wrong + other.wrong
        return total

    def levels(self) -> Levels:
        """The scores that occur, with their pixels."""
        used = torch.nonzero(self.right + self.wrong).flatten()
        return Levels(_middle_of(used), self.right[used].double(), self.wrong[used].double())


def auroc(levels: Levels) -> float | None:
    """The probability that a right pixel has a higher score than a wrong one; ties count half. None without both kinds.

    >>> auroc(Levels(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0])))
    0.875
    """
    rights, wrongs = levels.right.sum(), levels.wrong.sum()
    if not (rights > 0 and wrongs > 0):
        return None
    wrong_below = levels.wrong.cumsum(0) - levels.wrong / 2
    return float((levels.right * wrong_below).sum() / (rights * wrongs))


def risk_at(levels: Levels, coverage: float) -> float | None:
    """The share of errors among the surest `coverage` (0..1) of the pixels; None without pixels.

    Where only some of the pixels of equal score fit in, they count as right and wrong in equal proportion.

    >>> risk_at(Levels(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0])), 0.5)
    0.25
    """
    pixels = (levels.right + levels.wrong).flip(0)
    wrong = levels.wrong.flip(0)
    if len(pixels) == 0:
        return None
    target = coverage * pixels.sum()
    before = pixels.cumsum(0) - pixels
    taken = ((target - before) / pixels).clamp(0, 1)
    return float((taken * wrong).sum() / target)


def aurc(levels: Levels) -> float | None:
    """Area under the risk-coverage curve: the mean risk over the surest 1, 2, ... all pixels; None without pixels.

    Pixels of equal score are in random order, and the result is the expectation. Let n pixels of equal score follow m
    surer ones with e errors, and let r be the share of errors among the n. Their risks sum up to (e + r i) / (m + i)
    over i = 1..n, which is r n + (e - r m) (H(m + n) - H(m)) with the harmonic numbers H.

    >>> aurc(Levels(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])))
    0.25
    """
    pixels, wrong = (levels.right + levels.wrong).flip(0), levels.wrong.flip(0)
    if len(pixels) == 0:
        return None
    before, errors_before = pixels.cumsum(0) - pixels, wrong.cumsum(0) - wrong
    share = wrong / pixels
    sums = share * pixels + (errors_before - share * before) * (_harmonic(before + pixels) - _harmonic(before))
    return float(sums.sum() / pixels.sum())


def best_aurc(levels: Levels) -> float | None:
    """The `aurc` of a score that ranks every right pixel above every wrong one."""
    none = levels.right.new_zeros(())
    ranked = Levels(
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        torch.stack((none, levels.right.sum())),
        torch.stack((levels.wrong.sum(), none)),
    )
    occurs = ranked.right + ranked.wrong > 0
    return aurc(Levels(*(column[occurs] for column in ranked)))


def _harmonic(n: Tensor) -> Tensor:
    """H(n) up to a constant, which the difference of two cancels."""
    return torch.digamma(n + 1)


def _bin_of(score: Tensor) -> Tensor:
    """Bins rise with the score: the bits of a float32 do, once those of negative numbers are turned round."""
    finite = score.float().nan_to_num(nan=-LARGEST, posinf=LARGEST, neginf=-LARGEST) + 0.0  # -0 becomes 0
    bits = finite.contiguous().view(torch.int32)
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (rising >> DROPPED_BITS).long() + BINS // 2


def _middle_of(bins: Tensor) -> Tensor:
    rising = ((bins - BINS // 2) << DROPPED_BITS) + (1 << (DROPPED_BITS - 1))
    bits = torch.where(rising < 0, rising ^ 0x7FFFFFFF, rising).to(torch.int32)
    return bits.view(torch.float32).double()
