"""From the certainty or the margin of a decision to the probability that it is right.

Both order the pixels of an image by how sure they are, but are no probability: a certainty is minus an entropy, a
margin a distance in colour levels, or a difference of probabilities of a network that is too sure of itself. Two
numbers fitted on labelled pixels, slope and intercept of a logistic curve, make them one (Platt, "Probabilistic outputs
for support vector machines", 1999).
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

# What of a `Result` is calibrated, and what it is measured in: certainties in nats, margins in their own units.
Score = Literal["certainty", "margin"]
Unit = MarginUnit | Literal["nats"]
UNITS: tuple[Unit, ...] = ("levels", "probability", "nats")

# Nearer to 1 than 2^-24 there is no float32 probability; 256 classes that are equally likely have an entropy of 5.5.
SMALLEST_ENTROPY = 2.0**-24
LARGEST_ENTROPY = 8.0


@dataclass(frozen=True)
class Calibration:
    """confidence = sigmoid(slope * feature(score) + intercept).

    `unit` is that of the scores it was fitted on, and tells which they were: certainties are in nats, margins in levels
    or probability. `weights` is the digest of the weights that made them, see
    `gss.training.checkpoint.weights_digest`; other weights need their own fit.
    """

    slope: float
    intercept: float
    unit: Unit
    weights: str = ""

    @property
    def score(self) -> Score:
        """What of a `Result` it reads."""
        return "certainty" if self.unit == "nats" else "margin"

    def confidence(self, score: Tensor) -> Tensor:
        """Scores of any shape -> the probability that each decision is right, float32. NaN counts as the least sure."""
        return torch.sigmoid(self.slope * feature(score, self.unit) + self.intercept).float()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Raises FileNotFoundError, and ValueError for a file that holds no calibration."""
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
    """What the logistic curve is straight in, float64.

    For a certainty -H the log-odds of exp(-H), the probability of each of exp(H) classes that are equally likely;
    slope 1 and intercept 0 then leave that reading as it is. It was the likeliest of -H, -sqrt(H), exp(-H) and this on
    CamVid and on generated scenes (benchmarks/confidence_study.py).

    For a margin m in levels its square. If painted colours scatter evenly around the right one, the log-odds of the
    nearest colour against the second are proportional to the difference of their squared distances, which is m times
    twice the distance between the two colours, and most pixels are painted so well that m is about half that distance.
    m^2 was likelier than m, sqrt(m) and log(1 + m) on CamVid and on generated scenes (benchmarks/confidence_study.py).

    For a lead m in probability log((1 + m) / (1 - m)), the log-odds of the best class against the second where there
    are no others; slope 1 and intercept 0 then leave a softmax as it is.
    """
    if unit == "nats":
        entropy = -score.double().nan_to_num(nan=-LARGEST_ENTROPY)
        return -torch.expm1(entropy.clamp(SMALLEST_ENTROPY, LARGEST_ENTROPY)).log()
    m = score.double().nan_to_num(nan=0.0)
    if unit == "levels":
        return m.clamp(0, 1e6).square()
    return 2 * torch.atanh(m.clamp(0, 1 - 2.0**-24))


def uncalibrated(score: Tensor, unit: Unit, reach: float) -> Tensor:
    """The plain reading of a score as a probability, float64.

    Of a certainty -H it is exp(-H). Of a margin 1/2 at 0, rising evenly to 1, which is reached at a lead of 1, or in
    levels at `reach`, half the distance of the palette's two closest colours: the margin of a pixel that has exactly
    the colour of one of the two.
    """
    if unit == "nats":
        return score.double().clamp_max(0).exp()
    return 0.5 + 0.5 * (score.double() / (reach if unit == "levels" else 1.0)).clamp(0, 1)


def fit_calibration(levels: Levels, unit: Unit, weights: str = "") -> Calibration:
    """The two numbers under which the right and wrong pixels are most likely; `levels` counts them by score.

    Raises ValueError where there are no pixels.
    """
    slope, intercept = fit_logistic(feature(levels.score, unit)[:, None], levels.right, levels.wrong).tolist()
    return Calibration(slope, intercept, unit, weights)


def fit_logistic(features: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Logistic regression by maximum likelihood.

    Each pixel counts a little for the other side too, as in Platt (1999): (n + 1) / (n + 2) for its own. That changes
    nothing for many pixels, and keeps the numbers finite where every pixel is right or the two sides do not overlap.

    Args:
        features: (N, F), one row a group of pixels.
        right, wrong: (N,) pixels in each group.

    Returns:
        (F + 1,) float64: the slopes, then the intercept.
    """
    rights, wrongs = right.double().sum(), wrong.double().sum()
    total = rights + wrongs
    if not total > 0:
        raise ValueError("right, wrong: expected at least one labelled pixel to fit on, got none")
    for_right, for_wrong = (rights + 1) / (rights + 2), (wrongs + 1) / (wrongs + 2)
    positive = (right * for_right + wrong * (1 - for_wrong)) / total
    negative = (wrong * for_wrong + right * (1 - for_right)) / total
    # The optimiser takes features of one size to the minimum in a few steps, whatever they were measured in.
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

    Bins are equally wide (Guo et al., "On calibration of modern neural networks", 2017), or hold equally many pixels
    as far as levels are not torn apart: a level lies in the bin of its middle pixel. None without pixels.

    Args:
        confidence: (N,) in 0..1, of each level.
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
