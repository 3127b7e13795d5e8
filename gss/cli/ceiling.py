"""gss ceiling: what the tokenizer alone makes possible."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, add_data, add_device, add_json, add_run


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "ceiling",
        help="the best mean IoU the tokenizer allows, and how much of the codebook is used",
        description="Encodes the annotations to tokens and back. No prior can beat what survives this round trip.",
    )
    add_run(parser)
    add_data(parser, split="val")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import gss
    from gss.cli.models import load_model
    from gss.cli.output import class_table, emit, progress
    from gss.data.folder import FolderDataset
    from gss.evaluation import ceiling
    from gss.report import percent

    model = load_model(arguments.model, arguments.device)
    if isinstance(model, gss.PixelClassifier):
        raise ValueError(f"{arguments.model}: a pixel classifier has no tokenizer, and so no ceiling")
    dataset = FolderDataset(arguments.data, arguments.split, model.palette, cache=False)
    with progress("reconstructing") as report:
        outcome = ceiling(model, dataset, progress=report)
    full_size = f"mean IoU at full size: {percent(outcome['mIoU_full_size'])}"
    used = f"codes used: {outcome['codes_used']} of {outcome['codes']}, perplexity {outcome['perplexity']:.1f}"
    facts = {"images": len(dataset), "run": arguments.model, "split": arguments.split}
    emit(arguments.json, {**outcome, **facts}, class_table(outcome), full_size, used)
    return 0
