"""Drawn hypotheses: their gain over a run's own certainty, the effect of leaving out unlikely tokens, and their cost.

    python -m experiments.confidence RUN --data DIR --every 2 --out experiments/results/confidence.json

The calibration of a run and of its twin comes from `gss evaluate --calibration`. Votes: on every 97th pixel, whether
the entropy of 16 drawn segmentations, or the share of draws that agree with the prediction, finds errors better than
margin and certainty, alone and together; a fit on one half of the images is tested on the other half. Thresholds: draws
that leave unlikely tokens out. Cost: median seconds an image of a prediction and of draws.
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
from gss.data.dataset import PairDataset
from gss.data.sources.layouts import open_dataset
from gss.io.files import write_text
from gss.prediction.calibration import calibration_error, feature, fit_logistic
from gss.prediction.histogram import ScoreHistogram, aurc, auroc
from gss.prediction.hypotheses import sample
from gsskernels import info

PIXEL_STEP = 97  # a prime: no column of the image is preferred
COUNTS = (1, 4, 16)
THRESHOLDS = (0.0, 0.02, 0.1, 0.3, 1.0)
SETS = (
    ("margin",),
    ("vote entropy",),
    ("agreement",),
    ("certainty",),
    ("margin", "vote entropy"),
    ("margin", "certainty"),
    ("margin", "vote entropy", "certainty"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=1, help="draw for every N-th image only (default: 1)")
    parser.add_argument("--timed", type=int, default=5, help="images to time on (default: 5)")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = gss.load(given.run)
    if not isinstance(model, gss.GSS):
        raise SystemExit(f"{given.run}: expected a generative run, got a pixel classifier")
    dataset = open_dataset(given.data, given.split, model.palette, cache=False)
    found = {
        "machine": info.collect(),
        "split": given.split,
        "votes": compare_votes(model, dataset, given.every),
        "thresholds": compare_thresholds(model, dataset, 10 * given.every),
        "cost": cost(model, dataset, given.timed),
    }
    write_text(given.out, json.dumps(found, indent=2) + "\n")
    print(json.dumps({key: found[key] for key in ("votes", "thresholds", "cost")}, indent=2))


@torch.inference_mode()
def compare_votes(model: gss.GSS, dataset: PairDataset, every: int) -> dict[str, Any]:
    """AUROC, AURC, likelihood and calibration error of each set of scores as a fitted confidence."""
    columns = [pixel_scores(model, dataset[index], index) for index in range(0, len(dataset), every)]
    middle = (len(columns) + 1) // 2
    halves = [
        {name: torch.cat([part[name] for part in half]) for name in columns[0]}
        for half in (columns[:middle], columns[middle:])
    ]
    right = torch.cat([half["right"] for half in halves])
    modal = torch.cat([half["modal right"] for half in halves])
    found: dict[str, Any] = {"samples": max(COUNTS), "images": len(columns), "pixels": len(right)}
    found |= {"accuracy": float(right.double().mean()), "accuracy_of_modal_labels": float(modal.double().mean())}
    for names in SETS:
        logits = []
        for test, fit in (halves, halves[::-1]):
            features = torch.stack([fit[name] for name in names], 1)
            weights = fit_logistic(features, fit["right"].double(), (~fit["right"]).double())
            logits.append(torch.stack([test[name] for name in names], 1) @ weights[:-1] + weights[-1])
        found[" + ".join(names)] = quality(torch.cat(logits), right)
    return found


def pixel_scores(model: gss.GSS, pair: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Scores of the sampled pixels of an image, and whether prediction and modal labels are right there."""
    result = model.predict(pair["image"])
    if not isinstance(result, gss.Result) or result.certainty is None:
        raise SystemExit("this run gives no certainty")
    drawn = sample(model, pair["image"], samples=max(COUNTS), seed=seed)
    label = pair["label"].flatten()
    where = torch.arange(0, label.numel(), PIXEL_STEP)
    where = where[label[where] != model.palette.ignore_index]
    values = {
        "margin": feature(result.margin, result.margin_unit),
        "vote entropy": -drawn.entropy,
        "agreement": (drawn.maps == result.labels).float().mean(0),
        "certainty": feature(result.certainty, "nats"),
    }
    found = {name: value.flatten()[where].double() for name, value in values.items()}
    found["right"] = result.labels.flatten()[where] == label[where]
    return found | {"modal right": drawn.labels.flatten()[where] == label[where]}


def quality(logit: Tensor, right: Tensor) -> dict[str, float | None]:
    histogram = ScoreHistogram()
    histogram.update(logit, right)
    levels = histogram.levels()
    loss = (levels.right * F.softplus(-levels.score) + levels.wrong * F.softplus(levels.score)).sum()
    return {
        "auroc": auroc(levels),
        "aurc": aurc(levels),
        "nll": float(loss / len(right)),
        "ece": calibration_error(levels, torch.sigmoid(levels.score)),
    }


def compare_thresholds(model: gss.GSS, dataset: PairDataset, every: int) -> dict[str, Any]:
    """By threshold: right pixels of one draw and of the modal labels (share), vote entropy (nats), seconds an image."""
    chosen = range(0, len(dataset), every)
    found: dict[str, Any] = {"images": len(chosen), "samples": max(COUNTS)}
    for threshold in THRESHOLDS:
        columns: dict[str, list[float]] = {"one draw": [], "modal labels": [], "entropy": [], "seconds": []}
        for index in chosen:
            pair = dataset[index]
            start = time.perf_counter()
            drawn = sample(model, pair["image"], samples=max(COUNTS), seed=index, threshold=threshold)
            columns["seconds"].append(time.perf_counter() - start)
            labelled = pair["label"] != model.palette.ignore_index
            for name, labels in (("one draw", drawn.maps[0]), ("modal labels", drawn.labels)):
                columns[name].append(float((labels == pair["label"])[labelled].float().mean()))
            columns["entropy"].append(float(drawn.entropy.mean()))
        seconds = statistics.median(columns.pop("seconds"))
        found[str(threshold)] = {name: statistics.fmean(values) for name, values in columns.items()} | {
            "seconds": seconds
        }
    return found


def cost(model: gss.GSS, dataset: PairDataset, images: int) -> dict[str, Any]:
    """Median seconds an image."""
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
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"size": list(image.shape[-2:]), "threads": torch.get_num_threads(), "median_seconds": medians}


if __name__ == "__main__":
    main()
