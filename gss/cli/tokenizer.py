"""gss tokenizer: train a maskige tokenizer on label maps, and see how it uses its codebook."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, output_folder, override, positive
from gss.cli.codecs import add_codec, codec_source, load_codec

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
        description="Trains the tokenizer of a recipe on label maps; images are not needed. RUN is then what `gss "
        "ceiling` measures and what the recipe setting tokenizer_weights takes.",
    )
    add_data(train)
    train.add_argument("--out", metavar="RUN", type=output_folder, required=True, help="folder for the run")
    train.add_argument(
        "--recipe", default="camvid-small", metavar="NAME|FILE", help="whose tokenizer (default: camvid-small)"
    )
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in RUN")
    help_text = "begin without reading every file first, where `gss data check` has passed before"
    train.add_argument("--no-check", action="store_true", help=help_text)
    train.add_argument("--seed", type=int, metavar="N", help="overrides the recipe's seed")
    train.add_argument(
        "overrides",
        nargs="*",
        type=override,
        metavar="key.path=value",
        help="other values of the recipe to override, such as palette=ade20k or tokenizer.codes=2048",
    )
    train.set_defaults(run=run_train, after_interrupt="the same command with --resume goes on from the last checkpoint")


def _add_health(commands: Subparsers) -> None:
    health = commands.add_parser(
        "health",
        help="how many codes are used, how evenly, and which never",
        description="Encodes the label maps of a split and counts the tokens. Dead codes are wasted; a perplexity far "
        "below the codes used means that few codes do most of the work, as on label maps they do.",
    )
    add_codec(health)
    health.add_argument("--scale", metavar="N", type=positive, help="maskige pixels an image pixel, as for gss ceiling")
    add_data(health, split="val")
    add_device(health)
    add_json(health)
    health.set_defaults(run=run_health)


def run_train(arguments: argparse.Namespace) -> int:
    from gss.recipe import load_recipe

    overrides = list(arguments.overrides)
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    recipe = load_recipe(arguments.recipe, overrides)

    from gss.training.tokenizer_run import train_tokenizer

    train_tokenizer(
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


def run_health(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit, key_values, progress
    from gss.codebook_use import codebook_use
    from gss.data.layouts import detect_label_layout, open_dataset
    from gss.report import percent

    codec = load_codec(arguments)
    layout = arguments.layout or detect_label_layout(arguments.data)
    dataset = open_dataset(
        arguments.data, arguments.split, codec.palette, cache=False, layout=layout, lists=arguments.lists
    )
    with progress("encoding") as report:
        use = codebook_use(codec, dataset, progress=report, scale=arguments.scale)
    dead = use["dead_codes"]
    more = f", ... ({len(dead) - SHOWN_CODES} more)" if len(dead) > SHOWN_CODES else ""
    lines = {
        "codes used": f"{use['codes_used']} of {use['codes']} ({percent(use['usage'])})",
        "perplexity": f"{use['perplexity']:.1f}, {use['bits_per_token']:.2f} bits a token",
        "commonest code": f"{percent(use['commonest_share'])} of all tokens",
        "tokens an image": f"{use['tokens_per_image']:,.0f}",
        "dead codes": ", ".join(map(str, dead[:SHOWN_CODES])) + more if dead else "none",
    }
    facts = {"label_maps": len(dataset), "run": codec_source(arguments), "split": arguments.split}
    emit(arguments.json, {**use, **facts}, key_values(lines))
    return 0
