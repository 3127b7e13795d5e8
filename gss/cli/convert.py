"""gss convert: an official checkpoint becomes a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gss.cli.arguments import Subparsers, add_json, output_folder

if TYPE_CHECKING:
    from torch import Tensor

    from gss.model.gss import GSS


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "convert",
        help="turn an official GSS checkpoint into a run folder",
        description="Reads an official GSS-FF or GSS-FT-W checkpoint without executing anything in it, and writes a "
        "run folder, as training leaves it. The recipe of the model is found by its classes, backbone and X^-1.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT.pth", type=Path, help="of GSS-FF, GSS-FT-W or both merged")
    parser.add_argument(
        "--inverse", metavar="FTW.pth", type=Path, help="take X^-1 from this GSS-FT-W checkpoint; CHECKPOINT is GSS-FF"
    )
    parser.add_argument(
        "--recipe", metavar="NAME|FILE", help="of a model that is none of the ten official ones: its sizes"
    )
    parser.add_argument(
        "--palette", metavar="NAME|FILE", help="the colours it was trained with (default: the recipe's)"
    )
    parser.add_argument(
        "--dalle", metavar="DIR", type=Path, help="where encoder.pkl, decoder.pkl are; needed if it has no dVAE"
    )
    parser.add_argument("--out", metavar="RUN", type=output_folder, required=True, help="the folder to write")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit, key_values
    from gss.config.loading import load_recipe
    from gss.convert.official import convert_official, left_out
    from gss.palette import get_palette
    from gss.training.plan import MODEL_FILE, holds_run
    from gss.training.run import save_model

    out: Path = arguments.out
    if holds_run(out) or (out / MODEL_FILE).exists():
        raise FileExistsError(f"{out}: holds a run already; choose another folder")
    palette = None if arguments.palette is None else get_palette(arguments.palette)
    recipe = None if arguments.recipe is None else load_recipe(arguments.recipe)
    state = read_state(arguments)
    try:
        model = convert_official(state, recipe, palette)
    except ValueError as error:
        raise ValueError(f"{arguments.checkpoint}: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    save_model(model, out)
    reasons = {reason: len(names) for reason, names in left_out(state).items()}
    facts = {"run": out, **summary(model), "converted": len(state) - sum(reasons.values()), "left_out": reasons}
    lines = {key: str(value) for key, value in facts.items() if key not in ("converted", "left_out")}
    lines["weights"] = "\n".join(
        [f"{facts['converted']} converted", *(f"{count} left out: they {reason}" for reason, count in reasons.items())]
    )
    emit(arguments.json, facts, key_values(lines))
    return 0


def read_state(arguments: argparse.Namespace) -> dict[str, Tensor]:
    """The weights of the checkpoint, with X^-1 and the dVAE of others where the arguments name them.

    Raises ValueError for a file that is damaged or no checkpoint, or files that do not belong together.
    """
    from gss.convert.dalle import read_dalle
    from gss.convert.official import merge_official, official_state, with_dalle
    from gss.io.checkpoints import read_checkpoint

    def read(path: Path) -> dict[str, Tensor]:
        content = read_checkpoint(path)
        try:
            return official_state(content)
        except ValueError as error:
            raise ValueError(f"{path}: no official checkpoint: {error}") from error

    state = read(arguments.checkpoint)
    if arguments.inverse is not None:
        inverse = read(arguments.inverse)
        try:
            state = merge_official(state, inverse)
        except ValueError as error:
            raise ValueError(f"{arguments.checkpoint} and {arguments.inverse} do not go together: {error}") from error
    if arguments.dalle is not None:
        tokenizer = read_dalle(arguments.dalle / "encoder.pkl", arguments.dalle / "decoder.pkl")
        try:
            state = with_dalle(state, tokenizer)
        except ValueError as error:
            raise ValueError(f"{arguments.dalle}: {error}") from error
    return state


def summary(model: GSS) -> dict[str, Any]:
    """The kind of model, in words."""
    learned = model.inverse is not None
    return {
        "model": "GSS-FT-W" if learned else "GSS-FF",
        "backbone": type(model.encoder.backbone).__name__,
        "classes": f"{model.palette.num_classes} ({model.palette.name})",
        "parameters": f"{sum(model.num_parameters().values()):,}",
    }
