"""gss evaluate: the metrics of a model on a split."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, add_run

if TYPE_CHECKING:
    from gss.data.dataset import PairDataset
    from gss.model.classifier import PixelClassifier
    from gss.model.gss import GSS


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="mean IoU, accuracies and a per-class table",
        description="Predicts every image of a split and compares with the annotations, over all their pixels.",
    )
    add_run(parser)
    add_data(parser, split="val")
    parser.add_argument(
        "--calibration",
        action="store_true",
        help="also measure how well certainty and margin find errors, fit the confidence and write "
        "RUN/calibration.json, which `gss predict --abstain` needs",
    )
    parser.add_argument(
        "--score",
        choices=("certainty", "margin"),
        help="the score to fit the confidence on (default: the certainty if the model gives one, else the margin)",
    )
    parser.add_argument(
        "--fit-split",
        metavar="NAME",
        help="the split to fit on (default: --split itself, where each half of the images is tested with the fit on "
        "the other half)",
    )
    parser.add_argument(
        "--official-parity",
        action="store_true",
        help="with an MSeg model on its test sets: predict class 0 where a set lacks the class, as the official code",
    )
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.models import load_model
    from gss.cli.output import class_table, emit
    from gss.data.sources.mseg import TEST_SETS

    if arguments.layout == "mseg" or arguments.layout in TEST_SETS:
        return run_zero_shot(arguments)
    if arguments.official_parity:
        raise ValueError("--official-parity: expected --layout mseg or one of its test sets with it")
    for option in ("fit_split", "score"):
        if getattr(arguments, option) is not None and not arguments.calibration:
            name = option.replace("_", "-")
            raise ValueError(f"--{name}: expected --calibration with it, since nothing else is fitted")
    model = load_model(arguments.model, arguments.device)
    dataset = _open(arguments, arguments.split, model)
    start = time.perf_counter()
    metrics, lines = (score_and_calibrate if arguments.calibration else score)(arguments, model, dataset)
    seconds = time.perf_counter() - start
    facts = {"images": len(dataset), "seconds": round(seconds, 3), "run": arguments.model, "split": arguments.split}
    summary = f"{len(dataset)} images of {arguments.data} ({arguments.split}) in {seconds:.1f} s"
    emit(arguments.json, {**metrics, **facts}, class_table(metrics), *lines, summary)
    return 0


def _open(arguments: argparse.Namespace, split: str, model: GSS | PixelClassifier) -> PairDataset:
    from gss.data.sources.layouts import open_dataset

    files = {"cache": False, "layout": arguments.layout, "lists": arguments.lists}
    return open_dataset(arguments.data, split, model.palette, **files)


def score(
    arguments: argparse.Namespace, model: GSS | PixelClassifier, dataset: PairDataset
) -> tuple[dict[str, Any], list[Any]]:
    """The metrics, and no further lines."""
    from gss.evaluation.scores import evaluate
    from gss.io.progress import progress_bar

    with progress_bar("evaluating") as report:
        return evaluate(model, dataset, progress=report), []


def score_and_calibrate(
    arguments: argparse.Namespace, model: GSS | PixelClassifier, dataset: PairDataset
) -> tuple[dict[str, Any], list[Any]]:
    """The metrics with "confidence", and the lines to show; writes the calibration into the run folder."""
    from gss.cli.models import weights_of_run
    from gss.cli.output import confidence_lines
    from gss.evaluation.confidence import calibrate, confidence_report, score_split
    from gss.io.progress import progress_bar
    from gss.prediction.calibration import FILE, Score

    weights = weights_of_run(Path(arguments.model))
    required: Score = arguments.score or "margin"
    fit = None
    if arguments.fit_split is not None:
        other = _open(arguments, arguments.fit_split, model)
        with progress_bar("fitting") as report:
            fit = score_split(model, other, report, required)
    with progress_bar("evaluating") as report:
        scores = score_split(model, dataset, report, required)
    found = confidence_report(scores, model.palette, fit, arguments.score)
    calibration = calibrate(fit or scores, weights, found["score"])
    path = Path(arguments.model) / FILE
    calibration.save(path)
    facts = {"slope": calibration.slope, "intercept": calibration.intercept, "file": path}
    metrics = {**scores.metrics.compute(), "confusion": scores.metrics.confusion.tolist()}
    values = {**metrics, "confidence": {**found, **facts, "fit_split": arguments.fit_split}}
    return values, [*confidence_lines(found), str(path)]


def run_zero_shot(arguments: argparse.Namespace) -> int:
    """An MSeg model on one of the test sets, or with --layout mseg on all six."""
    from gss.cli.models import load_model
    from gss.cli.output import emit, key_values
    from gss.data.sources.mseg import TEST_SETS
    from gss.evaluation.metrics import percent
    from gss.evaluation.zero_shot import evaluate_test_sets
    from gss.io.progress import progress_bar

    fitting = arguments.calibration or arguments.fit_split is not None or arguments.score is not None
    if fitting or arguments.split != "val":
        raise ValueError("--layout: expected no --calibration, --fit-split, --score or --split with an MSeg test set")
    model = load_model(arguments.model, arguments.device)
    names = tuple(TEST_SETS) if arguments.layout == "mseg" else (arguments.layout,)
    with ExitStack() as stack:
        results = evaluate_test_sets(
            model,
            arguments.data,
            names,
            arguments.lists,
            arguments.official_parity,
            progress=lambda name: stack.enter_context(progress_bar(name)),
        )
    lines = {name: percent(results[name]["mIoU"]) for name in names}
    if len(names) > 1:
        lines["h.mean"] = percent(results["h.mean"])
    emit(arguments.json, {**results, "run": arguments.model}, key_values(lines))
    return 0
