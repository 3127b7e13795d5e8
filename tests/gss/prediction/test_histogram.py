import math

import pytest
import torch

from gss.prediction.histogram import ScoreHistogram, aurc, auroc, best_aurc, risk_at

# Values that a bin holds apart, with ties, of both signs.
SCORES = torch.tensor([-4.0, -4.0, -0.5, 0.0, 0.25, 0.25, 0.25, 1.0, 1.0, 3.5, 60.0, 60.0])
RIGHT = torch.tensor([0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1], dtype=torch.bool)


def counted(score: torch.Tensor, right: torch.Tensor) -> ScoreHistogram:
    histogram = ScoreHistogram()
    histogram.update(score, right)
    return histogram


def test_levels_count_every_score_in_order() -> None:
    levels = counted(SCORES, RIGHT).levels()
    expected = [-4.0, -0.5, 0.0, 0.25, 1.0, 3.5, 60.0]
    assert levels.score.tolist() == pytest.approx(expected, rel=2e-3, abs=1e-30)
    assert levels.right.tolist() == [1, 0, 1, 2, 1, 1, 2]
    assert levels.wrong.tolist() == [1, 1, 0, 1, 1, 0, 0]


def test_bins_rise_with_the_score_and_hold_it_within_a_thousandth() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(4000, generator=generator) * 10 ** (torch.rand(4000, generator=generator) * 12 - 6)
    levels = counted(score, torch.ones(4000, dtype=torch.bool)).levels()
    assert (levels.score.diff() > 0).all()
    order = score.sort().values.double()
    binned = levels.score.repeat_interleave(levels.right.long())
    assert ((binned - order).abs() <= 1e-3 * order.abs() + 1e-30).all()


def test_nothing_is_lost_at_the_ends() -> None:
    score = torch.tensor([math.inf, -math.inf, math.nan, -0.0, 0.0])
    levels = counted(score, torch.ones(5, dtype=torch.bool)).levels()
    assert levels.right.tolist() == [2, 2, 1]  # NaN is the least sure, also of scores that end at 0
    assert torch.isfinite(levels.score).all()


def test_auroc_counts_pairs() -> None:
    pairs = [(r, w) for r in SCORES[RIGHT].tolist() for w in SCORES[~RIGHT].tolist()]
    expected = sum(1.0 if r > w else 0.5 if r == w else 0.0 for r, w in pairs) / len(pairs)
    assert auroc(counted(SCORES, RIGHT).levels()) == pytest.approx(expected)
    assert auroc(counted(SCORES, torch.ones_like(RIGHT)).levels()) is None


def test_aurc_is_the_mean_risk_over_all_coverages_and_ties_are_in_random_order() -> None:
    score = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    right = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool)
    assert aurc(counted(score, right).levels()) == pytest.approx((0 / 1 + 1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    generator = torch.Generator().manual_seed(0)
    areas = []
    for _ in range(4000):
        shuffled = torch.randperm(len(SCORES), generator=generator)
        order = shuffled[SCORES[shuffled].argsort(descending=True, stable=True)]
        errors = (~RIGHT[order]).double().cumsum(0)
        areas.append((errors / torch.arange(1, 13)).mean())
    assert aurc(counted(SCORES, RIGHT).levels()) == pytest.approx(float(torch.stack(areas).mean()), abs=2e-3)


def test_the_best_order_has_the_errors_last() -> None:
    levels = counted(SCORES, RIGHT).levels()
    assert best_aurc(levels) == pytest.approx(sum(i / (8 + i) for i in range(1, 5)) / 12)
    assert best_aurc(counted(SCORES, torch.ones_like(RIGHT)).levels()) == 0
    assert best_aurc(counted(SCORES, torch.zeros_like(RIGHT)).levels()) == pytest.approx(1)
    assert aurc(ScoreHistogram().levels()) is None and best_aurc(ScoreHistogram().levels()) is None


def test_risk_at_a_coverage() -> None:
    levels = counted(SCORES, RIGHT).levels()
    errors = {2: 0, 3: 0, 5: 1, 8: 2, 9: 2, 10: 3, 12: 4}  # among the surest so many pixels
    for coverage, risk in ((kept / 12, wrong / kept) for kept, wrong in errors.items()):
        assert risk_at(levels, coverage) == pytest.approx(risk)
    assert risk_at(levels, 4 / 12) == pytest.approx(0.5 / 4)  # one of the two pixels of score 1, half of which is wrong


def test_histograms_add_up() -> None:
    both = counted(SCORES[:5], RIGHT[:5]) + counted(SCORES[5:], RIGHT[5:])
    whole = counted(SCORES, RIGHT)
    assert torch.equal(both.right, whole.right) and torch.equal(both.wrong, whole.wrong)


def test_wrong_input_is_named() -> None:
    with pytest.raises(TypeError, match="expected floating point and bool"):
        ScoreHistogram().update(SCORES.long(), RIGHT)
    with pytest.raises(ValueError, match=r"correct: expected the score's shape \(12,\), got \(5,\)"):
        ScoreHistogram().update(SCORES, RIGHT[:5])
