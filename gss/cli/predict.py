"""gss predict: segment images and save the pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gss.cli.arguments import (
    Subparsers,
    above_zero,
    add_device,
    add_run,
    not_negative,
    output_folder,
    positive,
    probability,
)

if TYPE_CHECKING:
    import torch

    from gss.model.classifier import PixelClassifier
    from gss.model.gss import GSS


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "predict",
        help="segment images and save labels, overlay, maskige and a strip of all",
        description="For each image NAME: NAME_labels.png (class ids in the palette's colours), NAME_overlay.png, "
        "NAME_maskige.png and NAME_strip.png. Images that cannot be read are named on stderr and left out. With "
        "--samples also NAME_modal.png (each pixel's most frequent class), NAME_entropy.png (bright where the draws "
        "disagree) and NAME_hypothesis_0.png, ... (those that differ most).",
    )
    add_run(parser)
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="image file, or a folder of them")
    parser.add_argument("--out", metavar="DIR", type=output_folder, required=True, help="folder for the pictures")
    parser.add_argument(
        "--abstain",
        metavar="P",
        type=probability,
        help="write 255, ignore, where the probability that the class is right is below P; needs RUN/calibration.json, "
        "which `gss evaluate --calibration` writes",
    )
    drawing = parser.add_argument_group("several readings of an image")
    drawing.add_argument("--samples", metavar="S", type=positive, help="draw S token maps from the prior")
    drawing.add_argument(
        "--temperature", metavar="T", type=above_zero, default=1.0, help="below 1 they differ less (default: 1)"
    )
    drawing.add_argument(
        "--threshold",
        metavar="P",
        type=probability,
        default=0.0,
        help="draw no token less likely than this share of its cell's most likely one (default: 0, draw from all)",
    )
    drawing.add_argument("--seed", metavar="N", type=not_negative, default=0, help="of the draws (default: 0)")
    drawing.add_argument(
        "--hypotheses", metavar="M", type=positive, default=3, help="how many different ones to write (default: 3)"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.models import load_calibration, load_model
    from gss.io.images import read_image

    files = image_files(arguments.images)
    calibration = None if arguments.abstain is None else load_calibration(Path(arguments.model))
    model = load_model(arguments.model, arguments.device)
    failed = 0
    for file in files:
        try:
            image = read_image(file)
        except (OSError, ValueError) as error:
            print(f"gss: error: {error}", file=sys.stderr)
            failed += 1
            continue
        result = model.predict(image)
        result.name = file.stem
        if calibration is not None:
            result = result.abstain(calibration, arguments.abstain)
        if arguments.samples is not None:
            save_hypotheses(arguments, model, image, file.stem)
        print(result.save(arguments.out)["strip"], flush=True)
    if failed:
        raise ValueError(f"{failed} of {len(files)} images could not be read; the others are in {arguments.out}")
    return 0


def save_hypotheses(
    arguments: argparse.Namespace, model: GSS | PixelClassifier, image: torch.Tensor, name: str
) -> None:
    """Draw readings of an image and save them beside its result. Raises the errors of `hypotheses.sample`."""
    from gss.model.classifier import PixelClassifier
    from gss.prediction.hypotheses import sample

    if isinstance(model, PixelClassifier):
        raise ValueError("--samples: expected a generative run, whose tokens can be drawn, got a pixel classifier")
    found = sample(
        model,
        image,
        arguments.samples,
        arguments.temperature,
        seed=arguments.seed,
        distinct=arguments.hypotheses,
        threshold=arguments.threshold,
    )
    found.name = name
    found.save(arguments.out)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The given files and the images in the given folders, in order.

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: a folder without images, or two files of one name, whose pictures would overwrite each other.
    """
    from gss.data.listing import IMAGE_SUFFIXES, list_files

    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = list_files(path, IMAGE_SUFFIXES)
            if not found:
                raise ValueError(f"{path}: no images in this folder ({', '.join(IMAGE_SUFFIXES)})")
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    by_name: dict[str, Path] = {}
    for file in files:
        other = by_name.setdefault(file.stem, file)
        if other is not file:
            raise ValueError(f"{other} and {file} would write the same file names; predict them into two folders")
    return files
