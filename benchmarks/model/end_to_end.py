"""Predicting and training with the native backend and with the reference: times, and whether the answers are equal.

    python -m benchmarks.model.end_to_end RUN --data DIR --recipe camvid-small --out benchmarks/results/end_to_end.json

Prediction: every image of the split with both backends in turn and the same weights; median milliseconds an image, and
whether labels, tokens and margins are equal. Training: `gss train` from the same seed, the backends in turn, `--rounds`
times; median steps a second of each stage, and the loss of the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import gss
from gss.data.sources.layouts import open_dataset
from gss.evaluation.metrics import SegmentationMetrics
from gss.io.files import write_text
from gss.training.metrics_log import read_metrics
from gsskernels import _dispatch, info

BACKENDS = ("reference", "native")
STEPS = {"tokenizer": 120, "prior": 40}
WARMUP = 10  # steps left out of the rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    found = {
        "machine": info.collect(),
        "prediction": compare_predictions(gss.load(arguments.run), arguments.data),
        "training": compare_training(arguments.data, arguments.recipe, arguments.rounds),
    }
    write_text(arguments.out, json.dumps(found, indent=2) + "\n")
    print(json.dumps({k: found[k] for k in ("prediction", "training")}, indent=2))


def compare_predictions(model: Any, data: Path) -> dict[str, Any]:
    dataset = open_dataset(data, "val", model.palette, cache=False)
    seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    scores = {b: SegmentationMetrics(model.palette.num_classes, model.palette.class_names) for b in BACKENDS}
    differing = {"labels": 0, "tokens": 0}
    largest_margin_difference = 0.0
    model.predict(dataset[0]["image"])
    for index in range(len(dataset)):
        pair = dataset[index]
        results = {}
        for backend in BACKENDS if index % 2 == 0 else BACKENDS[::-1]:
            _dispatch.default = backend
            start = time.perf_counter()
            results[backend] = model.predict(pair["image"])
            seconds[backend].append(time.perf_counter() - start)
            scores[backend].update(results[backend].labels, pair["label"])
        a, b = (results[backend] for backend in BACKENDS)
        differing["labels"] += int((a.labels != b.labels).sum())
        differing["tokens"] += int((a.tokens != b.tokens).sum())
        largest_margin_difference = max(largest_margin_difference, float((a.margin - b.margin).abs().max()))
    _dispatch.default = None
    return {
        "pictures": len(dataset),
        "median_ms": {b: 1000 * statistics.median(seconds[b]) for b in BACKENDS},
        "mIoU": {b: scores[b].compute()["mIoU"] for b in BACKENDS},
        "differing_labels": differing["labels"],
        "differing_tokens": differing["tokens"],
        "largest_margin_difference": largest_margin_difference,
        "threads": torch.get_num_threads(),
    }


def compare_training(data: Path, recipe: str, rounds: int) -> dict[str, Any]:
    rates: dict[str, dict[str, list[float]]] = {b: {stage: [] for stage in STEPS} for b in BACKENDS}
    losses: dict[str, dict[str, float]] = {b: {} for b in BACKENDS}
    for _ in range(rounds):
        for backend in BACKENDS:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "run"
                command = [sys.executable, "-c", "from gss.cli import main; main()", "train", "--recipe", recipe]
                command += ["--data", str(data), "--out", str(out)]
                command += [f"{stage}_stage.steps={n}" for stage, n in STEPS.items()]
                environment = {**os.environ, "GSSKERNELS_BACKEND": backend}
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
                for stage in STEPS:
                    lines = read_metrics(out / "metrics.jsonl", stage)
                    rates[backend][stage] += [line["it_per_s"] for line in lines[WARMUP:] if line["it_per_s"]]
                    losses[backend][stage] = lines[-1]["loss"]
    return {
        "steps": STEPS,
        "rounds": rounds,
        "median_steps_per_s": {b: {s: statistics.median(rates[b][s]) for s in STEPS} for b in BACKENDS},
        "last_loss": losses,
    }


if __name__ == "__main__":
    main()
