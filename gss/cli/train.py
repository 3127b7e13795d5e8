"""gss train: from a recipe and a data folder to a run."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, add_data, output_folder, override


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model by a recipe",
        description="Trains every stage of a recipe and leaves the model, checkpoints and metrics.jsonl in RUN.",
    )
    parser.add_argument("--recipe", required=True, metavar="NAME|FILE", help="a shipped recipe or a YAML file")
    add_data(parser)
    parser.add_argument("--out", metavar="RUN", type=output_folder, required=True, help="folder for the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in RUN")
    help_text = "begin without reading every file first, where `gss data check` has passed before"
    parser.add_argument("--no-check", action="store_true", help=help_text)
    parser.add_argument("--seed", type=int, metavar="N", help="overrides the recipe's seed")
    parser.add_argument(
        "overrides", nargs="*", type=override, metavar="key.path=value", help="other values of the recipe to override"
    )
    parser.set_defaults(run=run, after_interrupt="the same command with --resume goes on from the last checkpoint")


def run(arguments: argparse.Namespace) -> int:
    from gss.recipe import load_recipe

    overrides = list(arguments.overrides)
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    recipe = load_recipe(arguments.recipe, overrides)

    from gss.training.run import train

    train(
        recipe,
        arguments.data,
        arguments.out,
        resume=arguments.resume,
        layout=arguments.layout,
        lists=arguments.lists,
        check=not arguments.no_check,
    )
    print(f"finished: {arguments.out}")
    return 0
