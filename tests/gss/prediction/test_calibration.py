import json
import math
from pathlib import Path

import pytest
import torch

from gss.prediction.calibration import (
    Calibration,
    calibration_error,
    feature,
    fit_calibration,
    fit_logistic,
    uncalibrated,
)
from gss.prediction.histogram import Levels, ScoreHistogram


def simulated(pixels: int = 200_000) -> Levels:
    """Margins in levels, right with probability sigmoid(margin^2 / 400 - 1)."""
    generator = torch.Generator().manual_seed(0)
    margin = torch.rand(pixels, generator=generator) * 60
    right = torch.rand(pixels, generator=generator) < torch.sigmoid(margin**2 / 400 - 1)
    histogram = ScoreHistogram()
    histogram.update(margin, right)
    return histogram.levels()


def test_the_fit_finds_the_curve_the_pixels_were_drawn_from() -> None:
    levels = simulated()
    calibration = fit_calibration(levels, "levels")
    assert calibration.slope == pytest.approx(1 / 400, rel=0.02) and calibration.intercept == pytest.approx(
        -1, abs=0.03
    )
    confidence = calibration.confidence(levels.score)
    assert calibration_error(levels, confidence) < 0.003
    assert calibration_error(levels, confidence, spacing="mass") < 0.003
    assert calibration_error(levels, uncalibrated(levels.score, "levels", 25.0)) > 0.05


def test_the_fit_on_certainties_finds_its_curve_too() -> None:
    """Entropies of 0 to log(8), right with the odds of exp(-H) squared, times 2."""
    generator = torch.Generator().manual_seed(0)
    entropy = torch.rand(200_000, generator=generator) * math.log(8)
    odds = 1 / torch.expm1(entropy)
    histogram = ScoreHistogram()
    histogram.update(-entropy, torch.rand(200_000, generator=generator) < 2 * odds**2 / (1 + 2 * odds**2))
    levels = histogram.levels()
    calibration = fit_calibration(levels, "nats", "0123")
    assert calibration.slope == pytest.approx(2, rel=0.02) and calibration.intercept == pytest.approx(
        math.log(2), abs=0.03
    )
    assert (calibration.score, calibration.unit, calibration.weights) == ("certainty", "nats", "0123")
    assert calibration_error(levels, calibration.confidence(levels.score)) < 0.003
    assert calibration_error(levels, uncalibrated(levels.score, "nats", 25.0)) > 0.05


def test_the_fit_is_the_maximum_of_the_likelihood() -> None:
    features = torch.tensor([[0.0, 1.0], [1.0, -2.0], [2.0, 0.5], [3.0, 0.0], [40.0, 0.1]])
    right, wrong = torch.tensor([3.0, 5, 8, 9, 40]), torch.tensor([4.0, 5, 3, 1, 2])

    def gradient(weights: torch.Tensor) -> torch.Tensor:
        """The gradient of the log-likelihood: features times (observed less expected), with Platt's targets."""
        rights, wrongs = right.sum(), wrong.sum()
        observed = right * (rights + 1) / (rights + 2) + wrong / (wrongs + 2)
        x = torch.cat((features, torch.ones(5, 1)), 1).double()
        return x.T @ (observed - (right + wrong) * torch.sigmoid(x @ weights))

    weights = fit_logistic(features, right, wrong)
    assert weights.shape == (3,) and weights.dtype == torch.float64
    assert gradient(weights).abs().max() < 1e-4
    assert gradient(weights + 0.01).abs().max() > 0.05


@pytest.mark.parametrize(("right", "wrong"), [([5.0, 5.0], [0.0, 0.0]), ([0.0, 7.0], [6.0, 0.0]), ([3.0], [1.0])])
def test_the_fit_stays_finite_where_nothing_overlaps(right: list[float], wrong: list[float]) -> None:
    features = torch.arange(float(len(right)))[:, None]
    weights = fit_logistic(features, torch.tensor(right), torch.tensor(wrong))
    assert torch.isfinite(weights).all() and weights.abs().max() < 100
    probability = torch.sigmoid(features.double() @ weights[:1] + weights[1])
    assert (probability > 0.5).tolist() == [r > w for r, w in zip(right, wrong, strict=True)]


def test_a_fit_needs_pixels() -> None:
    with pytest.raises(ValueError, match="expected at least one labelled pixel"):
        fit_calibration(ScoreHistogram().levels(), "levels")


def test_features() -> None:
    lead = torch.tensor([0.0, 0.5, 1.0, math.nan])
    odds = feature(lead, "probability")
    assert odds[:2].tolist() == pytest.approx([0, math.log(3)])
    assert torch.isfinite(odds).all() and odds[3] == 0
    # two classes: the softmax itself comes back
    assert Calibration(1.0, 0.0, "probability").confidence(lead[:2]).tolist() == pytest.approx([0.5, 0.75])
    confidence = Calibration(1.0, -1.0, "levels").confidence(torch.tensor([[0.0, 1.0, math.inf, math.nan]]))
    assert confidence.dtype == torch.float32 and confidence.shape == (1, 4)
    expected = [1 / (1 + math.e), 0.5, 1.0, 1 / (1 + math.e)]
    assert confidence[0].tolist() == pytest.approx(expected, abs=1e-5)
    assert uncalibrated(torch.tensor([0.0, 5.0, 20.0]), "levels", 10.0).tolist() == [0.5, 0.75, 1.0]
    assert uncalibrated(torch.tensor([0.0, 0.5, 1.0]), "probability", 10.0).tolist() == [0.5, 0.75, 1.0]


def test_features_of_certainties() -> None:
    certainty = torch.tensor([-math.log(2), -math.log(4), 0.0, -math.inf, math.nan, 1e-7])
    odds = feature(certainty, "nats")
    # two classes are right with the odds 1 : 1 each, four with 1 : 3
    assert odds[:2].tolist() == pytest.approx([0, -math.log(3)], abs=1e-6)
    assert torch.isfinite(odds).all() and odds[2] == odds[5] == odds.max()
    assert odds[3] == odds[4] == odds.min()
    # slope 1 and intercept 0 leave the plain reading
    plain = uncalibrated(certainty[:3], "nats", 10.0)
    assert plain.tolist() == pytest.approx([0.5, 0.25, 1.0])
    assert Calibration(1.0, 0.0, "nats").confidence(certainty[:3]).tolist() == pytest.approx(plain.tolist())
    assert Calibration(1.0, 0.0, "levels").score == Calibration(1.0, 0.0, "probability").score == "margin"


def test_calibration_error_by_hand() -> None:
    levels = Levels(torch.arange(4.0), torch.tensor([1.0, 3, 8, 4]), torch.tensor([3.0, 1, 2, 0]))
    confidence = torch.tensor([0.1, 0.4, 0.6, 1.0])
    two_bins = (abs(4 - (4 * 0.1 + 4 * 0.4)) + abs(12 - (10 * 0.6 + 4 * 1.0))) / 22
    assert calibration_error(levels, confidence, bins=2) == pytest.approx(two_bins)
    each = (abs(1 - 0.4) + abs(3 - 1.6) + abs(8 - 6.0) + abs(4 - 4.0)) / 22
    assert calibration_error(levels, confidence, bins=10) == pytest.approx(each)
    # 22 pixels in two halves: the first two levels (8) and the third, whose middle pixel is the 13th, apart
    by_mass = (abs(4 - (0.4 + 1.6)) + abs(12 - (6.0 + 4.0))) / 22
    assert calibration_error(levels, confidence, spacing="mass", bins=2) == pytest.approx(by_mass)
    assert calibration_error(Levels(*(torch.zeros(0),) * 3), torch.zeros(0)) is None


def test_calibration_is_saved_and_read_back(tmp_path: Path) -> None:
    calibration = Calibration(1.25, -0.5, "levels", "0123456789abcdef")
    for other in (Calibration(1.5, 0.25, "nats", "0123456789abcdef"), calibration):
        other.save(tmp_path / "calibration.json")
        assert Calibration.load(tmp_path / "calibration.json") == other
    values = json.loads((tmp_path / "calibration.json").read_text())
    for change in ({"unit": "metres"}, {"slope": "steep"}, {"slope": math.inf}, {"extra": 1}):
        (tmp_path / "bad.json").write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match=r"bad\.json: expected"):
            Calibration.load(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text("[1")
    with pytest.raises(ValueError, match=r"bad\.json: expected"):
        Calibration.load(tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError):
        Calibration.load(tmp_path / "missing.json")
