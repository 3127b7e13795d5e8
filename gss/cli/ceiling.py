"""gss ceiling: the best score that a tokenizer allows."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, positive, size
from gss.cli.models import add_codec, codec_source, load_codec, open_labels


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "ceiling",
        help="the best mean IoU the tokenizer allows, and how much of the codebook is used",
        description="Encodes the annotations to tokens and back. No prior can score higher than this round trip. "
        "The tokenizer is that of RUN, or with --dalle or --vqgan a published one with any palette.",
    )
    add_codec(parser)
    help_text = "maskige pixels for each image pixel (default: the model's; official: 1)"
    parser.add_argument("--scale", metavar="N", type=positive, help=help_text)
    parser.add_argument("--box", metavar="HxW", type=size, help="fit annotations into this first (ADE20K: 512x2048)")
    add_data(parser, split="val")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.output import class_table, emit
    from gss.evaluation.ceiling import ceiling
    from gss.evaluation.metrics import percent
    from gss.io.progress import progress_bar

    codec = load_codec(arguments)
    dataset = open_labels(arguments, codec)
    with progress_bar("reconstructing") as report:
        outcome = ceiling(codec, dataset, progress=report, scale=arguments.scale, box=arguments.box)
    full_size = f"mean IoU at full size: {percent(outcome['mIoU_full_size'])}"
    used = f"codes used: {outcome['codes_used']} of {outcome['codes']}, perplexity {outcome['perplexity']:.1f}"
    facts = {"images": len(dataset), "run": codec_source(arguments), "split": arguments.split}
    emit(arguments.json, {**outcome, **facts}, class_table(outcome), full_size, used)
    return 0
