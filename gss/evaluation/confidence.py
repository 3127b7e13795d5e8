"""How well a model knows where it is wrong: its scores on a split, and its confidence before and after calibration."""

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
    "expected a certainty for every image, got none; only one pass over the image with a compact tokenizer gives one, "
    "the margin is always there"
)

# Log-odds of float32 probabilities end here.
LARGEST_LOG_ODDS = 24.0


@dataclass
class SplitScores:
    """What one pass over a split leaves.

    metrics: the same as `gss.evaluation.scores.evaluate` counts.
    halves: for the first and the second half of the images the histograms by name. In halves and not in turns, so that
        neighbouring frames of a video do not stand on both sides. "margin" is the result's, and so is "certainty",
        which is there if every image has one. A pixel classifier also has "max_probability", as log-odds, and
        "entropy", its softmax entropy in nats, negated.
    unit: of the margins.
    """

    metrics: SegmentationMetrics
    halves: tuple[dict[str, ScoreHistogram], dict[str, ScoreHistogram]] = field(default_factory=lambda: ({}, {}))
    unit: MarginUnit | None = None

    def whole(self) -> dict[str, ScoreHistogram]:
        first, second = self.halves
        return {name: first[name] + second[name] if name in second else first[name] for name in first}

    def unit_of(self, name: str) -> Unit:
        """Of the "certainty" or the "margin"."""
        assert self.unit is not None  # a data set has at least one image
        return "nats" if name == "certainty" else self.unit


def score_split(
    model: GSS | PixelClassifier,
    dataset: PairDataset,
    progress: Progress | None = None,
    require: Score = "margin",
) -> SplitScores:
    """Predict every image of a split as `evaluate` does, and count right and wrong pixels by score.

    Raises ValueError where the data's classes are not the model's, where some of its images get a margin in levels
    and others in probability, as under windows those do that fit into one, and at the first image without a certainty
    if one is required.
    """
    uncertain = 0
    found = SplitScores(SegmentationMetrics(model.palette.num_classes, model.palette.class_names))
    for index, pair in enumerate(labelled_pairs(dataset, model.palette, progress)):
        result = model.predict(pair["image"])
        assert isinstance(result, Result)  # one image in, one result out
        if found.unit not in (None, result.margin_unit):
            raise ValueError(
                f"{dataset.names[index]}: expected a margin in {found.unit} as of the images before, got one in "
                f"{result.margin_unit}; calibrate images of one size, or without windows"
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
    """image uint8 (3, H, W) -> the log-odds of its largest probability and minus its entropy (nats), (H, W) float32."""
    device = model.classifier.weight.device
    probabilities = predict_scores(model.image_scores, image[None].to(device), model.inference)[0]
    best = probabilities.amax(0)
    entropy = torch.zeros_like(best)
    for plane in probabilities:
        entropy -= torch.special.xlogy(plane, plane)
    log_odds = torch.logit(best.double()).clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    return {"max_probability": log_odds.float().cpu(), "entropy": -entropy.cpu()}


def best_score(*splits: SplitScores) -> Score:
    """The certainty, which finds errors better, where all of the splits have it, else the margin."""
    return "certainty" if all("certainty" in split.halves[0] for split in splits) else "margin"


def calibrate(scores: SplitScores, weights: str = "", score: Score | None = None) -> Calibration:
    """The calibration of a split's `score`, by default its `best_score`.

    Raises ValueError where it has no such score or no labelled pixel.
    """
    score = score or best_score(scores)
    _require(score, scores)
    return fit_calibration(scores.whole()[score].levels(), scores.unit_of(score), weights)


def confidence_report(
    scores: SplitScores, palette: Palette, fit: SplitScores | None = None, score: Score | None = None
) -> dict[str, Any]:
    """AUROC, risk and coverage, and calibration error of every score of a split.

    What a score is after calibration is told of pixels it was not fitted on: fitted on the split `fit`, or without one
    on each half of the images for the other.

    Returns "pixels", "error" (share of wrong ones), "unit" of the margins, "scores": by name "auroc" (of finding the
    errors), "aurc", "excess_aurc" (over that of a perfect order), "risk_at_coverage", and for what is a probability
    "ece" {"before", "after"} each with "width" and "mass" bins; "score", the one to be confident by, as given or the
    `best_score`; and "abstain": by threshold, how much its calibrated confidence keeps and how often that is right.
    None where a number does not exist.

    Raises ValueError for a split of one image without `fit`, where the margins of `fit` are of another unit, and where
    `score` is none of both splits.
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
        report["scores"][name] = {
            "auroc": auroc(levels),
            "aurc": area,
            "excess_aurc": area - best if area is not None and best is not None else None,
            "risk_at_coverage": {str(c): risk_at(levels, c) for c in COVERAGES},
        }
        fitted = name != "entropy" and (fit is None or name in fit.halves[0])
        if fitted and report["pixels"]:
            tested, confidence = _held_out(name, scores, fit)
            report["scores"][name]["ece"] = {
                "before": _errors(tested, _before(name, tested.score, scores, palette)),
                "after": _errors(tested, confidence),
            }
            if name == score:
                report["abstain"] = {str(threshold): _kept(tested, confidence, threshold) for threshold in THRESHOLDS}
    return report


def _held_out(name: str, scores: SplitScores, fit: SplitScores | None) -> tuple[Levels, Tensor]:
    """The levels of a split, those of one half after the other's, each with a confidence fitted on other pixels."""
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


def _before(name: str, score: Tensor, scores: SplitScores, palette: Palette) -> Tensor:
    if name == "max_probability":
        return torch.sigmoid(score)
    return uncalibrated(score, scores.unit_of(name), palette.min_distance()[0] / 2)


def _require(score: Score, *splits: SplitScores) -> None:
    if not all(score in split.halves[0] for split in splits):
        raise ValueError(f"score: {NO_CERTAINTY}")


def _errors(levels: Levels, confidence: Tensor) -> dict[str, float | None]:
    return {spacing: calibration_error(levels, confidence, spacing=spacing) for spacing in ("width", "mass")}


def _kept(levels: Levels, confidence: Tensor, threshold: float) -> dict[str, float | None]:
    sure = confidence >= threshold
    pixels, right = float((levels.right + levels.wrong).sum()), float(levels.right[sure].sum())
    kept = float((levels.right + levels.wrong)[sure].sum())
    return {"coverage": kept / pixels, "accuracy": right / kept if kept else None}
