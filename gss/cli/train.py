"""`gss train`: train a model by a recipe."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers
from gss.cli.training import AFTER_INTERRUPT, add_training, recipe_of, settings_of


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model by a recipe",
        description="Trains every stage of a recipe and leaves the model, checkpoints and metrics.jsonl in RUN.",
    )
    parser.add_argument("--recipe", required=True, metavar="NAME|FILE", help="a shipped recipe or a YAML file")
    add_training(parser)
    parser.set_defaults(run=run, after_interrupt=AFTER_INTERRUPT)


def run(arguments: argparse.Namespace) -> int:
    # a bad recipe is reported before torch is imported
    recipe = recipe_of(arguments)

    from gss.training.run import train

    train(recipe, arguments.data, arguments.out, **settings_of(arguments))
    print(f"finished: {arguments.out}")
    return 0
