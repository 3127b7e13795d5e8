"""gss sample: draw label maps without an image."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, above_zero, add_device, add_run, not_negative, output_folder, positive, size


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "sample",
        help="draw label maps without any image",
        description="Draws tokens from the prior that a run's stage token_prior learned from label maps, and decodes "
        "them: mask_000.png, ... (class ids in the palette's colours) and masks.png, all of them in one picture.",
    )
    add_run(parser)
    parser.add_argument("--out", metavar="DIR", type=output_folder, required=True, help="folder for the pictures")
    parser.add_argument("--count", metavar="N", type=positive, default=16, help="number of label maps (default: 16)")
    parser.add_argument(
        "--size",
        metavar="HxW",
        type=size,
        default=(192, 256),
        help="of the masks, best the crop size of the stage token_prior (default: 192x256)",
    )
    parser.add_argument(
        "--rounds", metavar="R", type=positive, default=12, help="number of rounds that settle tokens (default: 12)"
    )
    parser.add_argument(
        "--temperature", metavar="T", type=above_zero, default=1.0, help="below 1 they are more alike (default: 1)"
    )
    parser.add_argument("--seed", metavar="N", type=not_negative, default=0, help="of the draws (default: 0)")
    add_device(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import gss
    from gss.cli.models import load_model
    from gss.io.images import save_image
    from gss.io.labels import write_label
    from gss.io.pictures import contact_sheet
    from gss.prediction.masks import draw_masks

    model = load_model(arguments.model, arguments.device)
    if not isinstance(model, gss.GSS) or model.token_prior is None:
        raise ValueError(
            f"{arguments.model}: expected a generative run with a prior over tokens; `gss train` with the stage "
            "token_prior among the recipe's stages makes one, also on top of a finished run named in start_from"
        )
    masks = draw_masks(
        model,
        arguments.count,
        arguments.size,
        rounds=arguments.rounds,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        write_label(arguments.out / f"mask_{index:03d}.png", mask, model.palette)
    save_image(arguments.out / "masks.png", contact_sheet(masks, model.palette))
    print(arguments.out / "masks.png")
    return 0
