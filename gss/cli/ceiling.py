"""gss ceiling: what the tokenizer alone makes possible."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, positive, size

if TYPE_CHECKING:
    from gss.reconstruction import Codec


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "ceiling",
        help="the best mean IoU the tokenizer allows, and how much of the codebook is used",
        description="Encodes the annotations to tokens and back. No prior can beat what survives this round trip. "
        "What is measured is the tokenizer of RUN, or with --dalle the published DALL-E dVAE with any palette.",
    )
    parser.add_argument("model", metavar="RUN", type=Path, nargs="?", help="folder of a finished run")
    parser.add_argument("--dalle", metavar="DIR", type=Path, help="instead of RUN: where encoder.pkl, decoder.pkl are")
    parser.add_argument("--palette", metavar="NAME|FILE", help="the colours of the classes, with --dalle")
    parser.add_argument(
        "--scale", metavar="N", type=positive, help="maskige pixels an image pixel (default: the model's; official: 1)"
    )
    parser.add_argument("--box", metavar="HxW", type=size, help="fit annotations into this first (ADE20K: 512x2048)")
    add_data(parser, split="val")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.output import class_table, emit, progress
    from gss.data.layouts import open_dataset
    from gss.reconstruction import ceiling
    from gss.report import percent

    codec = load_codec(arguments)
    dataset = open_dataset(
        arguments.data, arguments.split, codec.palette, cache=False, layout=arguments.layout, lists=arguments.lists
    )
    with progress("reconstructing") as report:
        outcome = ceiling(codec, dataset, progress=report, scale=arguments.scale, box=arguments.box)
    full_size = f"mean IoU at full size: {percent(outcome['mIoU_full_size'])}"
    used = f"codes used: {outcome['codes_used']} of {outcome['codes']}, perplexity {outcome['perplexity']:.1f}"
    facts = {"images": len(dataset), "run": arguments.model or arguments.dalle, "split": arguments.split}
    emit(arguments.json, {**outcome, **facts}, class_table(outcome), full_size, used)
    return 0


def load_codec(arguments: argparse.Namespace) -> Codec:
    """The model of RUN, or the DALL-E dVAE with the palette, on the device.

    Raises ValueError where neither or both are named, where the palette is missing, and for a pixel classifier.
    """
    import gss
    from gss.cli.models import find_device, load_model

    if (arguments.model is None) == (arguments.dalle is None):
        raise ValueError("expected RUN or --dalle DIR, and not both")
    if arguments.model is not None:
        model = load_model(arguments.model, arguments.device)
        if isinstance(model, gss.PixelClassifier):
            raise ValueError(f"{arguments.model}: a pixel classifier has no tokenizer, and so no ceiling")
        return model
    if arguments.palette is None:
        raise ValueError("--dalle: expected --palette NAME or FILE with it, since the dVAE knows no classes")
    from gss.convert.dalle import read_dalle
    from gss.palette import get_palette
    from gss.reconstruction import MaskigeCodec

    tokenizer = read_dalle(arguments.dalle / "encoder.pkl", arguments.dalle / "decoder.pkl")
    codec = MaskigeCodec(get_palette(arguments.palette), tokenizer)
    return codec.eval().to(find_device(arguments.device))
