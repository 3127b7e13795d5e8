"""Right and wrong pixels counted by a score: constant memory for any number of pixels, and no sort.

A score says how sure a decision is, larger is surer. Everything that only asks for the order of the pixels is read off
the counts: how well the score finds errors (AUROC), and what is left in error when the unsure pixels are left out (risk
and coverage; El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# A bin is a float32 without its last 14 bits: 9 bits of mantissa, so that a bin is at most 0.2 % wide at any size.
DROPPED_BITS = 14
BINS = 1 << (32 - DROPPED_BITS)
LARGEST = torch.finfo(torch.float32).max


class Levels(NamedTuple):
    """The scores that occur, rising: `score` (N,) float64, the middle of its bin; `right` and `wrong` (N,) float64."""

    score: Tensor
    right: Tensor
    wrong: Tensor


class ScoreHistogram:
    """Counts of right and wrong pixels, (BINS,) int64 each. Scores in one bin count as equal."""

    def __init__(self) -> None:
        self.right = torch.zeros(BINS, dtype=torch.int64)
        self.wrong = torch.zeros(BINS, dtype=torch.int64)

    def update(self, score: Tensor, correct: Tensor) -> None:
        """Adds pixels: `score` floating and `correct` bool, of one shape, on any device.

        NaN counts as the least sure, infinities as the largest finite float32. Raises TypeError for other dtypes,
        ValueError where the shapes differ.
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
        used = torch.nonzero(self.right + self.wrong).flatten()
        return Levels(_middle_of(used), self.right[used].double(), self.wrong[used].double())


def auroc(levels: Levels) -> float | None:
    """Probability that a right pixel has a higher score than a wrong one, ties counting half; None without both."""
    rights, wrongs = levels.right.sum(), levels.wrong.sum()
    if not (rights > 0 and wrongs > 0):
        return None
    wrong_below = levels.wrong.cumsum(0) - levels.wrong / 2
    return float((levels.right * wrong_below).sum() / (rights * wrongs))


class RiskCoverage(NamedTuple):
    """`coverage` and `risk` (N,) float64: the share of pixels kept, surest first, and the share of errors in them."""

    coverage: Tensor
    risk: Tensor


def risk_coverage(levels: Levels) -> RiskCoverage:
    """The curve at every score that occurs: pixels of equal score are kept or left out together."""
    kept = (levels.right + levels.wrong).flip(0).cumsum(0)
    errors = levels.wrong.flip(0).cumsum(0)
    return RiskCoverage(kept / kept[-1:], errors / kept)


def risk_at(levels: Levels, coverage: float) -> float | None:
    """Share of errors among the surest `coverage` of the pixels; of the last score the same share right and wrong."""
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

    Pixels of equal score come in random order, of which this is the expectation. With n of them after m others of
    which e are wrong, and r the share of wrong ones among the n, it is the sum of (e + r i) / (m + i) for i = 1..n:
    r n + (e - r m) (H(m + n) - H(m)), where H are the harmonic numbers.
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
