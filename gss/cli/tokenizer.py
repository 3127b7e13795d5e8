"""`gss tokenizer`: train a maskige tokenizer on label maps, and count how it uses its codebook."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, positive
from gss.cli.models import add_codec, codec_source, load_codec, open_labels
from gss.cli.train import AFTER_INTERRUPT, add_training, recipe_of, settings_of

SHOWN_CODES = 20


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("tokenizer", help="train a maskige tokenizer on label maps; its codebook's health")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_health(commands)


def _add_train(commands: Subparsers) -> None:
    train = commands.add_parser(
        "train",
        help="stage 1 alone",
        description="Trains the tokenizer of a recipe on label maps, without images. `gss ceiling` measures RUN, "
        "and the recipe setting tokenizer_weights takes it.",
    )
    train.add_argument(
        "--recipe",
        default="camvid-small",
        metavar="NAME|FILE",
        help="its tokenizer (default: camvid-small)",
    )
    add_training(train)
    train.set_defaults(run=run_train, after_interrupt=AFTER_INTERRUPT)


def _add_health(commands: Subparsers) -> None:
    health = commands.add_parser(
        "health",
        help="how many codes are used, how evenly, and which never",
        description="Encodes the label maps of a split and counts the tokens. Dead codes are never used. A perplexity "
        "far below the number of codes used means that few codes make up most tokens, which is normal for label maps.",
    )
    add_codec(health)
    health.add_argument("--scale", metavar="N", type=positive, help="maskige pixels an image pixel, as for gss ceiling")
    add_data(health, split="val")
    add_device(health)
    add_json(health)
    health.set_defaults(run=run_health)


def run_train(arguments: argparse.Namespace) -> int:
    recipe = recipe_of(arguments)

    from gss.training.run import train_tokenizer

    train_tokenizer(recipe, arguments.data, arguments.out, **settings_of(arguments))
    print(f"finished: {arguments.out}")
    return 0


def run_health(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit, key_values
    from gss.evaluation.ceiling import codebook_use
    from gss.evaluation.metrics import percent
    from gss.io.progress import progress_bar

    codec = load_codec(arguments)
    dataset = open_labels(arguments, codec)
    with progress_bar("encoding") as report:
        use = codebook_use(codec, dataset, progress=report, scale=arguments.scale)
    dead = use["dead_codes"]
    more = f", ... ({len(dead) - SHOWN_CODES} more)" if len(dead) > SHOWN_CODES else ""
    lines = {
        "codes used": f"{use['codes_used']} of {use['codes']} ({percent(use['usage'])})",
        "perplexity": f"{use['perplexity']:.1f}, {use['bits_per_token']:.2f} bits a token",
        "most common code": f"{percent(use['commonest_share'])} of all tokens",
        "tokens an image": f"{use['tokens_per_image']:,.0f}",
        "dead codes": ", ".join(map(str, dead[:SHOWN_CODES])) + more if dead else "none",
    }
    facts = {"label_maps": len(dataset), "run": codec_source(arguments), "split": arguments.split}
    emit(arguments.json, {**use, **facts}, key_values(lines))
    return 0
