"""gss evaluate: a model's metrics on a split."""

from __future__ import annotations

import argparse
import time

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, add_run


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="mean IoU, accuracies and a per-class table",
        description="Predicts every image of a split and compares with the annotations, over all their pixels.",
    )
    add_run(parser)
    add_data(parser, split="val")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.models import load_model
    from gss.cli.output import class_table, emit, progress
    from gss.data.folder import FolderDataset
    from gss.evaluation import evaluate

    model = load_model(arguments.model, arguments.device)
    dataset = FolderDataset(arguments.data, arguments.split, model.palette, cache=False)
    start = time.perf_counter()
    with progress("evaluating") as report:
        metrics = evaluate(model, dataset, progress=report)
    seconds = time.perf_counter() - start
    facts = {"images": len(dataset), "seconds": round(seconds, 3), "run": arguments.model, "split": arguments.split}
    summary = f"{len(dataset)} images of {arguments.data} ({arguments.split}) in {seconds:.1f} s"
    emit(arguments.json, {**metrics, **facts}, class_table(metrics), summary)
    return 0
