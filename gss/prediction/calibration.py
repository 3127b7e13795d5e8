"""The probability that a decision is right, from its certainty or its margin.

Both order the pixels of an image by how sure they are, but neither is a probability: a certainty is minus an entropy, a
margin is a distance in colour levels or a difference of probabilities of an overconfident network. The slope and
intercept of a logistic curve, fitted on labelled pixels, turn them into one (Platt, "Probabilistic outputs for support
vector machines", 1999).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.io.files import write_text
from gss.model.result import MarginUnit
from gss.prediction.histogram import Levels

FILE = "calibration.json"
BINS = 15  # of the calibration error

# The part of a `Result` that is calibrated, and its unit: nats for certainties, levels or probability for margins.
Score = Literal["certainty", "margin"]
Unit = MarginUnit | Literal["nats"]
UNITS: tuple[Unit, ...] = ("levels", "probability", "nats")

# No float32 probability is nearer to 1 than 2^-24; 256 equally likely classes have an entropy of 5.5.
SMALLEST_ENTROPY = 2.0**-24
LARGEST_ENTROPY = 8.0


@dataclass(frozen=True)
class Calibration:
    """confidence = sigmoid(slope * feature(score) + intercept).

    slope, intercept: the two fitted numbers.
    unit: the unit of the scores it was fitted on: nats (certainties), levels or probability (margins).
    weights: the digest of the weights that gave the scores, see `gss.training.checkpoint.weights_digest`; other weights
        need a fit of their own.

    >>> Calibration(1.0, 0.0, "nats").confidence(torch.tensor([-0.6931])).round(decimals=3).tolist()
    [0.5]
    """

    slope: float
    intercept: float
    unit: Unit
    weights: str = ""

    @property
    def score(self) -> Score:
        """The part of a `Result` that it reads."""
        return "certainty" if self.unit == "nats" else "margin"

    def confidence(self, score: Tensor) -> Tensor:
        """The probability that each decision is right, float32, of the shape of `score`. NaN is the least sure."""
        return torch.sigmoid(self.slope * feature(score, self.unit) + self.intercept).float()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read the JSON that `save` wrote. Raises FileNotFoundError, and ValueError for other contents."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            found = cls(**values)
            found = cls(float(found.slope), float(found.intercept), found.unit, str(found.weights))
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected slope, intercept, unit and weights: {error}") from error
        if found.unit not in UNITS or not torch.tensor([found.slope, found.intercept]).isfinite().all():
            raise ValueError(f"{path}: expected finite numbers and a unit of {', '.join(UNITS)}, got {values}")
        return found


def feature(score: Tensor, unit: Unit) -> Tensor:
    """The input of the logistic curve for scores in `unit`, float64. docs/confidence.md compares it with others.

    nats: the log-odds of exp(-H) for a certainty -H. exp(-H) is the probability of each of exp(H) equally likely
        classes; slope 1 and intercept 0 leave it as it is.
    levels: m^2 for a margin m. If painted colours scatter evenly around the right one, the log-odds of the nearest
        colour against the second are proportional to the difference of their squared distances. That is m times twice
        the distance between the two colours, and most pixels are painted so well that m is about half that distance.
    probability: log((1 + m) / (1 - m)) for a lead m, the log-odds of the best class against the second where there are
        no others; slope 1 and intercept 0 leave a softmax as it is.

    >>> feature(torch.tensor([0.0, 3.0]), "levels").tolist()
    [0.0, 9.0]
    """
    if unit == "nats":
        entropy = -score.double().nan_to_num(nan=-LARGEST_ENTROPY)
        return -torch.expm1(entropy.clamp(SMALLEST_ENTROPY, LARGEST_ENTROPY)).log()
    m = score.double().nan_to_num(nan=0.0)
    if unit == "levels":
        return m.clamp(0, 1e6).square()
    return 2 * torch.atanh(m.clamp(0, 1 - 2.0**-24))


def uncalibrated(score: Tensor, unit: Unit, reach: float) -> Tensor:
    """A score read as a probability without any fit, float64.

    A certainty -H becomes exp(-H). A margin becomes 1/2 at 0 and rises evenly to 1, at a lead of 1 in probability or at
    `reach` in levels. `reach` is half the distance of the palette's two closest colours, the margin of a pixel that has
    exactly the colour of one of the two.

    >>> uncalibrated(torch.tensor([0.0, 5.0, 20.0]), "levels", 10.0).tolist()
    [0.5, 0.75, 1.0]
    """
    if unit == "nats":
        return score.double().clamp_max(0).exp()
    return 0.5 + 0.5 * (score.double() / (reach if unit == "levels" else 1.0)).clamp(0, 1)


def fit_calibration(levels: Levels, unit: Unit, weights: str = "") -> Calibration:
    """Fit slope and intercept by maximum likelihood on the right and wrong pixels that `levels` counts by score.

    Raises:
        ValueError: no pixels.

    >>> levels = Levels(torch.tensor([0.0, 2.0]), torch.tensor([500.0, 900.0]), torch.tensor([500.0, 100.0]))
    >>> fitted = fit_calibration(levels, "levels")
    >>> [round(value, 2) for value in fitted.confidence(torch.tensor([0.0, 2.0])).tolist()]
    [0.5, 0.9]
    """
    slope, intercept = fit_logistic(feature(levels.score, unit)[:, None], levels.right, levels.wrong).tolist()
    return Calibration(slope, intercept, unit, weights)


def fit_logistic(features: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Logistic regression by maximum likelihood.

    As in Platt (1999), each pixel counts (n + 1) / (n + 2) for its own side and the rest for the other, n being the
    pixels of its side. That changes nothing for many pixels, and keeps the numbers finite where every pixel is right
    or the two sides do not overlap.

    Args:
        features: (N, F), one row for each group of pixels.
        right, wrong: (N,), the pixels in each group.

    Returns:
        (F + 1,) float64: the slopes, then the intercept.

    Raises:
        ValueError: no pixels.
    """
    rights, wrongs = right.double().sum(), wrong.double().sum()
    total = rights + wrongs
    if not total > 0:
        raise ValueError("right, wrong: expected at least one labelled pixel to fit on, got none")
    for_right, for_wrong = (rights + 1) / (rights + 2), (wrongs + 1) / (wrongs + 2)
    positive = (right * for_right + wrong * (1 - for_wrong)) / total
    negative = (wrong * for_wrong + right * (1 - for_right)) / total
    # Features of unit variance take the optimiser to the minimum in a few steps, whatever their units.
    x = features.double()
    share = ((right + wrong) / total)[:, None]
    mean = (share * x).sum(0)
    deviation = (share * (x - mean) ** 2).sum(0).sqrt()
    x = (x - mean) / torch.where(deviation > 0, deviation, 1.0)
    with torch.inference_mode(False), torch.enable_grad():
        x, positive, negative = x.clone(), positive.clone(), negative.clone()
        theta = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [theta], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            logit = x @ theta[:-1] + theta[-1]
            value = (positive * F.softplus(-logit) + negative * F.softplus(logit)).sum()
            value.backward()
            return value

        optimizer.step(loss)
    slopes = theta.detach()[:-1] / torch.where(deviation > 0, deviation, 1.0)
    return torch.cat((slopes, theta.detach()[-1:] - slopes @ mean))


def calibration_error(
    levels: Levels, confidence: Tensor, *, spacing: Literal["width", "mass"] = "width", bins: int = BINS
) -> float | None:
    """Expected calibration error: mean of |accuracy - confidence| over bins of confidence, weighted by their pixels.

    Args:
        levels: right and wrong pixels by score.
        confidence: (N,) in 0..1, the confidence of each level.
        spacing: "width" for bins of equal width (Guo et al., "On calibration of modern neural networks", 2017), "mass"
            for bins of about equally many pixels: a level lies in the bin of its middle pixel as a whole.
        bins: the number of bins.

    Returns:
        The error, None without pixels.

    >>> levels = Levels(torch.tensor([0.0, 1.0]), torch.tensor([5.0, 9.0]), torch.tensor([5.0, 1.0]))
    >>> round(calibration_error(levels, torch.tensor([0.5, 1.0])), 3)
    0.05
    """
    pixels = levels.right + levels.wrong
    if len(pixels) == 0:
        return None
    if spacing == "width":
        position = confidence.double() * bins
    else:
        order = confidence.argsort(stable=True)
        position = torch.empty_like(pixels)
        position[order] = (pixels[order].cumsum(0) - pixels[order] / 2) / pixels.sum() * bins
    bin_of = position.long().clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_of, levels.right - confidence.double() * pixels)
    return float(gap.abs().sum() / pixels.sum())
