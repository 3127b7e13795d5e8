"""gss demo: every step on procedural street scenes, from data to a report."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from gss.cli.arguments import Subparsers, not_negative, output_folder

TRAIN_SCENES = 240
VAL_SCENES = 40
SCENE_SIZE = (192, 288)
PICTURES = 3


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="generate street scenes, train, evaluate, predict, and write a report",
        description="Everything in a few minutes on a laptop's CPU. A second call resumes where the first one stopped.",
    )
    parser.add_argument("--out", metavar="DIR", type=output_folder, required=True, help="for scenes, run and report")
    parser.add_argument("--recipe", default="demo", metavar="NAME|FILE", help="default: demo")
    help_text = "seed of scenes and training (default: 0)"
    parser.add_argument("--seed", type=not_negative, default=0, metavar="N", help=help_text)
    parser.set_defaults(run=run, after_interrupt="the same command again resumes from the last checkpoint")


def run(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    import gss
    from gss.cli.output import class_table, show
    from gss.config.loading import load_recipe
    from gss.data.sources.layouts import open_dataset
    from gss.evaluation.report import write_report
    from gss.evaluation.scores import evaluate
    from gss.io.progress import progress_bar
    from gss.scenes import generate_scenes
    from gss.training.card import add_metrics
    from gss.training.run import train

    data, run_dir, report_dir = (arguments.out / name for name in ("scenes", "run", "report"))
    recipe = load_recipe(arguments.recipe, [f"seed={arguments.seed}"])
    show(f"drawing {TRAIN_SCENES} + {VAL_SCENES} street scenes")
    generate_scenes(data, train=TRAIN_SCENES, val=VAL_SCENES, size=SCENE_SIZE, seed=arguments.seed)

    start = time.perf_counter()
    train(recipe, data, run_dir, resume=True)
    training_seconds = time.perf_counter() - start

    model = gss.load(run_dir)
    held_out = open_dataset(data, "val", model.palette)
    with progress_bar("evaluating") as report:
        metrics = evaluate(model, held_out, progress=report)
    add_metrics(run_dir, metrics, "generated street scenes")

    strips: list[Path] = []
    for index in range(min(PICTURES, len(held_out))):
        sample = held_out[index]
        result = model.predict(sample["image"])
        result.name = sample["name"]
        strips.append(result.save(arguments.out / "predictions")["strip"])

    facts = {
        "title": "gss demo: street scenes",
        "parameters": sum(model.num_parameters().values()),
        "training seconds": round(training_seconds, 1),
        "held-out images": len(held_out),
        "recipe": asdict(recipe),
    }
    page = write_report(report_dir, metrics, strips, facts)["html"]
    show(class_table(metrics), "", f"model    {run_dir}", f"picture  {strips[0]}", f"report   {page}")
    return 0
