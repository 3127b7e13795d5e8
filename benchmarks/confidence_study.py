"""How well a run knows where it is wrong, what drawn hypotheses add to that, and what they cost.

    python benchmarks/confidence_study.py RUN --twin TWIN --data DIR --out benchmarks/results/confidence.json

Calibration: certainty and margin of RUN and margin of its discriminative TWIN, whose softmax entropy and largest
probability stand beside, over all pixels of the split. Curves: which function of the score the logistic curve should be
straight in. Votes: on every 97th pixel, whether the entropy of S drawn segmentations, or the share of draws that agree
with the prediction, finds errors better than the margin, and whether both together do; beside them the certainty, minus
the entropy of the class probabilities that the token distribution implies, which needs no draw. What is fitted is
tested on the other half of the images. Thresholds: what draws are like that leave unlikely tokens out. Cost: median
seconds an image of a prediction and of S draws.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import gss
from gss.cli.models import load_model
from gss.data.sources.folder import FolderDataset
from gss.evaluation.confidence import SplitScores, confidence_report, score_split
from gss.io.files import write_text
from gss.prediction.calibration import calibration_error, feature, fit_logistic
from gss.prediction.histogram import Levels, ScoreHistogram, aurc, auroc
from gss.prediction.hypotheses import sample
from gsskernels import info

PIXEL_STEP = 97  # a prime: no column of the image is preferred
COUNTS = (1, 4, 16)
THRESHOLDS = (0.0, 0.02, 0.1, 0.3, 1.0)
SHOWN = ("mIoU", "calibration", "curves", "certainty curves", "votes", "thresholds", "cost")
CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "log(1 + m)": torch.log1p,
    "sqrt(m)": torch.sqrt,
    "m": lambda m: m,
    "m^2": torch.square,
    "2 atanh(m)": lambda m: 2 * torch.atanh(m.clamp_max(1 - 2.0**-24)),
}
CERTAINTY_CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "-H": lambda c: c,
    "-sqrt(H)": lambda c: -c.neg().clamp_min(0).sqrt(),
    "exp(-H)": torch.exp,
    "log-odds of exp(-H)": lambda c: feature(c, "nats"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--twin", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--device", default="cpu", help="where the models run (default: cpu)")
    parser.add_argument("--every", type=int, default=1, help="draw for every N-th image only (default: 1)")
    parser.add_argument("--timed", type=int, default=5, help="images to time on (default: 5)")
    parser.add_argument("--note", default="", help="kept in the result, such as how long the runs were trained")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = load_model(arguments.run, arguments.device)
    if not isinstance(model, gss.GSS):
        raise SystemExit(f"{arguments.run}: expected a generative run, got a pixel classifier")
    dataset = FolderDataset(arguments.data, arguments.split, model.palette, cache=False)
    scores = {"run": score_split(model, dataset, require="certainty")}
    if arguments.twin is not None:
        scores["twin"] = score_split(load_model(arguments.twin, arguments.device), dataset)
    found = {
        "machine": info.collect(),
        "device": arguments.device,
        "note": arguments.note,
        "split": arguments.split,
        "images": len(dataset),
        "mIoU": {name: split.metrics.compute()["mIoU"] for name, split in scores.items()},
        "calibration": {name: confidence_report(split, model.palette) for name, split in scores.items()},
        "curves": {name: compare_curves(split, "margin", margin_curves(split)) for name, split in scores.items()},
        "certainty curves": compare_curves(scores["run"], "certainty", CERTAINTY_CURVES),
        "votes": compare_votes(model, dataset, arguments.every),
        "thresholds": compare_thresholds(model, dataset, 10 * arguments.every),
        "cost": cost(model, dataset, arguments.timed),
    }
    write_text(arguments.out, json.dumps(found, indent=2) + "\n")
    print(json.dumps({key: found[key] for key in SHOWN}, indent=2))


def margin_curves(scores: SplitScores) -> dict[str, Callable[[Tensor], Tensor]]:
    return {name: curve for name, curve in CURVES.items() if name != "2 atanh(m)" or scores.unit == "probability"}


def compare_curves(
    scores: SplitScores, score: str, curves: dict[str, Callable[[Tensor], Tensor]]
) -> dict[str, dict[str, float | None]]:
    """Negative log-likelihood a pixel and calibration error by curve, each half tested with the fit of the other."""
    halves = [half[score].levels() for half in scores.halves]
    found: dict[str, dict[str, float | None]] = {}
    for name, curve in curves.items():
        logits = []
        for test, fit in (halves, halves[::-1]):
            slope, intercept = fit_logistic(curve(fit.score)[:, None], fit.right, fit.wrong)
            logits.append(slope * curve(test.score) + intercept)
        joined = Levels(*(torch.cat(columns) for columns in zip(*halves, strict=True)))
        found[name] = quality(joined, torch.cat(logits))
    return found


def quality(levels: Levels, logit: Tensor) -> dict[str, float | None]:
    loss = (levels.right * F.softplus(-logit) + levels.wrong * F.softplus(logit)).sum()
    confidence = torch.sigmoid(logit)
    return {
        "nll": float(loss / (levels.right + levels.wrong).sum()),
        "ece": calibration_error(levels, confidence),
        "ece_equal_mass": calibration_error(levels, confidence, spacing="mass"),
    }


@torch.inference_mode()
def compare_votes(model: gss.GSS, dataset: FolderDataset, every: int) -> dict[str, Any]:
    """By score AUROC, AURC and, as a calibrated confidence, likelihood and calibration error; alone and with others."""
    columns: list[dict[str, Tensor]] = []
    modal_hits = 0
    for index in range(0, len(dataset), every):
        pair = dataset[index]
        image, label = pair["image"], pair["label"].flatten()
        result = model.predict(image)
        assert isinstance(result, gss.Result) and result.certainty is not None  # main has seen to that
        drawn = sample(model, image, samples=max(COUNTS), seed=index)
        where = torch.arange(0, label.numel(), PIXEL_STEP)
        where = where[label[where] != model.palette.ignore_index]
        values = {
            "margin": feature(result.margin, result.margin_unit),
            "vote entropy": -drawn.entropy,
            "agreement": (drawn.maps == result.labels).float().mean(0),
            "certainty": feature(result.certainty, "nats"),
        }
        picked = {name: value.flatten()[where].double() for name, value in values.items()}
        columns.append({**picked, "right": result.labels.flatten()[where] == label[where]})
        modal_hits += int((drawn.labels.flatten()[where] == label[where]).sum())
    middle = (len(columns) + 1) // 2
    halves = [
        {name: torch.cat([part[name] for part in half]) for name in columns[0]}
        for half in (columns[:middle], columns[middle:])
    ]
    right = torch.cat([half["right"] for half in halves])
    sets = [
        ("margin",),
        ("vote entropy",),
        ("agreement",),
        ("certainty",),
        ("margin", "vote entropy"),
        ("margin", "certainty"),
        ("margin", "vote entropy", "certainty"),
    ]
    found: dict[str, Any] = {
        "samples": max(COUNTS),
        "images": len(columns),
        "pixels": len(right),
        "accuracy": float(right.double().mean()),
        "accuracy_of_modal_labels": modal_hits / len(right),
    }
    for names in sets:
        logits = []
        for test, fit in (halves, halves[::-1]):
            features = torch.stack([fit[name] for name in names], 1)
            weights = fit_logistic(features, fit["right"].double(), (~fit["right"]).double())
            logits.append(torch.stack([test[name] for name in names], 1) @ weights[:-1] + weights[-1])
        logit = torch.cat(logits)
        histogram = ScoreHistogram()
        histogram.update(logit, right)
        levels = histogram.levels()
        found[" + ".join(names)] = {"auroc": auroc(levels), "aurc": aurc(levels), **quality(levels, levels.score)}
    return found


def compare_thresholds(model: gss.GSS, dataset: FolderDataset, every: int) -> dict[str, Any]:
    """By the least share of the likeliest token's probability that is drawn: pixels that one draw, and the modal labels
    of all, get right; the mean vote entropy (nats); median seconds an image."""
    found: dict[str, Any] = {"images": len(range(0, len(dataset), every)), "samples": max(COUNTS)}
    for threshold in THRESHOLDS:
        columns: dict[str, list[float]] = {"one draw": [], "modal labels": [], "entropy": [], "seconds": []}
        for index in range(0, len(dataset), every):
            pair = dataset[index]
            start = time.perf_counter()
            drawn = sample(model, pair["image"], samples=max(COUNTS), seed=index, threshold=threshold)
            columns["seconds"].append(time.perf_counter() - start)
            labelled = pair["label"] != model.palette.ignore_index
            for name, labels in (("one draw", drawn.maps[0]), ("modal labels", drawn.labels)):
                columns[name].append(float((labels == pair["label"])[labelled].float().mean()))
            columns["entropy"].append(float(drawn.entropy.mean()))
        seconds = statistics.median(columns.pop("seconds"))
        means = {name: statistics.fmean(values) for name, values in columns.items()}
        found[str(threshold)] = {**means, "seconds": seconds}
    return found


def cost(model: gss.GSS, dataset: FolderDataset, images: int) -> dict[str, Any]:
    ways: dict[str, Callable[[Tensor], Any]] = {"prediction": model.predict}
    for count in COUNTS:
        ways[f"{count} draws"] = lambda image, count=count: sample(model, image, samples=count)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(min(images, len(dataset))):
        image = dataset[index]["image"]
        for name, way in ways.items():
            start = time.perf_counter()
            way(image)
            seconds[name].append(time.perf_counter() - start)
    return {
        "size": list(image.shape[-2:]),
        "threads": torch.get_num_threads(),
        "median_seconds": {name: statistics.median(values) for name, values in seconds.items()},
    }


if __name__ == "__main__":
    main()
