"""Confidence of a model on a split: how well its scores find errors, before and after calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gss.data.dataset import PairDataset, labelled_pairs
from gss.evaluation.metrics import SegmentationMetrics
from gss.io.progress import Progress
from gss.model.classifier import PixelClassifier
from gss.model.result import MarginUnit, Result
from gss.model.views.predict import predict_scores
from gss.palette import Palette
from gss.prediction.calibration import (
    Calibration,
    Score,
    Unit,
    calibration_error,
    fit_calibration,
    fit_logistic,
    uncalibrated,
)
from gss.prediction.histogram import Levels, ScoreHistogram, aurc, auroc, best_aurc, risk_at

if TYPE_CHECKING:
    from gss.model.gss import GSS


COVERAGES = (0.5, 0.8, 0.9, 0.95)
THRESHOLDS = (0.5, 0.8, 0.9, 0.95)

NO_CERTAINTY = (
    "expected a certainty for every image, got none; only a single pass over the image with a compact tokenizer gives "
    "one, while the margin always exists"
)

LARGEST_LOG_ODDS = 24.0  # the limit of the log-odds of float32 probabilities


@dataclass
class SplitScores:
    """The counts of one pass over a split.

    Attributes:
        metrics: the same counts as in `gss.evaluation.scores.evaluate`.
        halves: histograms by name of the score, for the first and the second half of the images. Halves instead of
            every second image keep neighbouring frames of a video on one side. "margin" is always there, "certainty"
            if every image has one. A pixel classifier also has "max_probability" (as log-odds) and "entropy" (of the
            softmax in nats, negated).
        unit: unit of the margins.
    """

    metrics: SegmentationMetrics
    halves: tuple[dict[str, ScoreHistogram], dict[str, ScoreHistogram]] = field(default_factory=lambda: ({}, {}))
    unit: MarginUnit | None = None

    def whole(self) -> dict[str, ScoreHistogram]:
        """The histograms of both halves together."""
        first, second = self.halves
        return {name: first[name] + second[name] if name in second else first[name] for name in first}

    def unit_of(self, name: str) -> Unit:
        """Unit of the score "certainty" or "margin"."""
        assert self.unit is not None  # a data set has at least one image
        return "nats" if name == "certainty" else self.unit


def score_split(
    model: GSS | PixelClassifier,
    dataset: PairDataset,
    progress: Progress | None = None,
    require: Score = "margin",
) -> SplitScores:
    """Predict every image of a split as `evaluate` does, and count right and wrong pixels by score.

    Raises ValueError if the classes of the data are not the model's, if some margins are in levels and others in
    probability (under windows an image that fits into one window gets levels), and for an image without a certainty
    if `require` is "certainty".
    """
    uncertain = 0
    found = SplitScores(SegmentationMetrics(model.palette.num_classes, model.palette.class_names))
    for index, pair in enumerate(labelled_pairs(dataset, model.palette, progress)):
        result = model.predict(pair["image"])
        assert isinstance(result, Result)  # one image in, one result out
        if found.unit not in (None, result.margin_unit):
            raise ValueError(
                f"{dataset.names[index]}: expected a margin in {found.unit} as for the images before, got one in "
                f"{result.margin_unit}; calibrate on images of one size, or without windows"
            )
        found.unit = result.margin_unit
        if result.certainty is None and require == "certainty":
            raise ValueError(f"{dataset.names[index]}: {NO_CERTAINTY}")
        label = pair["label"]
        found.metrics.update(result.labels, label)
        scores = {"margin": result.margin}
        if result.certainty is not None:
            scores["certainty"] = result.certainty
        else:
            uncertain += 1
        if isinstance(model, PixelClassifier):
            scores |= softmax_scores(model, pair["image"])
        labelled = label != model.palette.ignore_index
        correct = (result.labels == label)[labelled]
        half = found.halves[0 if 2 * index < len(dataset) else 1]
        for name, score in scores.items():
            half.setdefault(name, ScoreHistogram()).update(score[labelled], correct)
    if uncertain:
        for half in found.halves:
            half.pop("certainty", None)
    return found


@torch.inference_mode()
def softmax_scores(model: PixelClassifier, image: Tensor) -> dict[str, Tensor]:
    """Scores of an image uint8 (3, H, W), float32 (H, W) each.

    "max_probability" is the log-odds of the largest probability, "entropy" minus the softmax entropy in nats.
    """
    device = model.classifier.weight.device
    probabilities = predict_scores(model.image_scores, image[None].to(device), model.inference)[0]
    best = probabilities.amax(0)
    entropy = torch.zeros_like(best)
    for plane in probabilities:
        entropy -= torch.special.xlogy(plane, plane)
    log_odds = torch.logit(best.double()).clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    return {"max_probability": log_odds.float().cpu(), "entropy": -entropy.cpu()}


def best_score(*splits: SplitScores) -> Score:
    """The certainty if all of the splits have it, because it finds errors better, else the margin."""
    return "certainty" if all("certainty" in split.halves[0] for split in splits) else "margin"


def calibrate(scores: SplitScores, weights: str = "", score: Score | None = None) -> Calibration:
    """The calibration of a split's `score`, by default its `best_score`.

    Raises ValueError if the split has no such score or no labelled pixel.
    """
    score = score or best_score(scores)
    _require(score, scores)
    return fit_calibration(scores.whole()[score].levels(), scores.unit_of(score), weights)


def confidence_report(
    scores: SplitScores, palette: Palette, fit: SplitScores | None = None, score: Score | None = None
) -> dict[str, Any]:
    """AUROC, risk at coverage and calibration error of every score of a split.

    The numbers after calibration are measured on pixels that the calibration was not fitted on: it is fitted on the
    split `fit`, or without `fit` on each half of the images and tested on the other. Returns:

    - "pixels", "error" (share of wrong pixels), "unit" of the margins
    - "scores": for each score "auroc" (of finding errors), "aurc" (area under the risk-coverage curve), "excess_aurc"
      (above the area of a perfect order), "risk_at_coverage"; for scores that can be a probability also "ece", the
      expected calibration error {"before", "after"}, each with bins of equal "width" and of equal "mass"
    - "score": the score of the confidence, the given one or `best_score`
    - "abstain": for each threshold the share of pixels with at least this confidence, and their accuracy

    A number that does not exist is None. Raises ValueError for a split of one image without `fit`, for margins of
    `fit` in another unit, and for a `score` that one of the splits lacks.
    """
    if fit is not None and fit.unit != scores.unit:
        raise ValueError(f"fit: expected a split of margins in {scores.unit}, got one of margins in {fit.unit}")
    splits = [scores] if fit is None else [scores, fit]
    score = score or best_score(*splits)
    _require(score, *splits)
    whole = scores.whole()
    margin = whole["margin"].levels()
    rights, wrongs = float(margin.right.sum()), float(margin.wrong.sum())
    report: dict[str, Any] = {
        "pixels": int(rights + wrongs),
        "error": wrongs / (rights + wrongs) if rights + wrongs else None,
        "unit": scores.unit,
        "score": score,
        "scores": {},
    }
    for name, histogram in whole.items():
        levels = histogram.levels()
        area, best = aurc(levels), best_aurc(levels)
        values: dict[str, Any] = {
            "auroc": auroc(levels),
            "aurc": area,
            "excess_aurc": area - best if area is not None and best is not None else None,
            "risk_at_coverage": {str(c): risk_at(levels, c) for c in COVERAGES},
        }
        report["scores"][name] = values
        fitted = name != "entropy" and (fit is None or name in fit.halves[0])
        if fitted and report["pixels"]:
            tested, confidence = _held_out(name, scores, fit)
            before = _uncalibrated(name, tested.score, scores, palette)
            values["ece"] = {"before": _errors(tested, before), "after": _errors(tested, confidence)}
            if name == score:
                report["abstain"] = {str(threshold): _kept(tested, confidence, threshold) for threshold in THRESHOLDS}
    return report


def _held_out(name: str, scores: SplitScores, fit: SplitScores | None) -> tuple[Levels, Tensor]:
    """The levels of a split, each with a confidence that was fitted on other pixels."""
    if fit is not None:
        sources = [(scores.whole()[name], fit.whole()[name])]
    else:
        first, second = scores.halves
        if name not in second:
            raise ValueError("split: expected at least two images, to fit on one half and test on the other, got one")
        sources = [(first[name], second[name]), (second[name], first[name])]
    parts, confidences = [], []
    for test, source in sources:
        part, other = test.levels(), source.levels()
        if name in ("margin", "certainty"):
            confidences.append(fit_calibration(other, scores.unit_of(name)).confidence(part.score).double())
        else:
            slope, intercept = fit_logistic(other.score[:, None], other.right, other.wrong)
            confidences.append(torch.sigmoid(slope * part.score + intercept))
        parts.append(part)
    return Levels(*(torch.cat(columns) for columns in zip(*parts, strict=True))), torch.cat(confidences)


def _uncalibrated(name: str, score: Tensor, scores: SplitScores, palette: Palette) -> Tensor:
    """The probability that a score claims before calibration: float64 (N,) for scores (N,)."""
    if name == "max_probability":
        return torch.sigmoid(score)
    return uncalibrated(score, scores.unit_of(name), palette.min_distance()[0] / 2)


def _require(score: Score, *splits: SplitScores) -> None:
    if not all(score in split.halves[0] for split in splits):
        raise ValueError(f"score: {NO_CERTAINTY}")


def _errors(levels: Levels, confidence: Tensor) -> dict[str, float | None]:
    """The expected calibration error with both kinds of bins."""
    return {spacing: calibration_error(levels, confidence, spacing=spacing) for spacing in ("width", "mass")}


def _kept(levels: Levels, confidence: Tensor, threshold: float) -> dict[str, float | None]:
    """The share of pixels with at least this confidence, and their accuracy."""
    sure = confidence >= threshold
    pixels, right = float((levels.right + levels.wrong).sum()), float(levels.right[sure].sum())
    kept = float((levels.right + levels.wrong)[sure].sum())
    return {"coverage": kept / pixels, "accuracy": right / kept if kept else None}
