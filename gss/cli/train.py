"""`gss train`: train a model by a recipe. `gss tokenizer train` shares its arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gss.cli.arguments import Subparsers, add_data, output_folder, override

if TYPE_CHECKING:
    from gss.config import Recipe

AFTER_INTERRUPT = "the same command with --resume goes on from the last checkpoint"


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


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add --data, --out, --resume, --no-check, --seed and overrides. Each command adds its own --recipe."""
    add_data(parser)
    parser.add_argument("--out", metavar="RUN", type=output_folder, required=True, help="folder for the run")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in RUN")
    help_text = "do not read every file first, if `gss data check` has passed before"
    parser.add_argument("--no-check", action="store_true", help=help_text)
    parser.add_argument("--seed", type=int, metavar="N", help="overrides the recipe's seed")
    help_text = "other values of the recipe to override, such as prior_stage.steps=500"
    parser.add_argument("overrides", nargs="*", type=override, metavar="key.path=value", help=help_text)


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe with --seed and the overrides applied."""
    from gss.config.loading import load_recipe

    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return load_recipe(arguments.recipe, [*arguments.overrides, *seed])


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `train` and `train_tokenizer` in `gss.training.run`."""
    return {
        "resume": arguments.resume,
        "layout": arguments.layout,
        "lists": arguments.lists,
        "check": not arguments.no_check,
    }
