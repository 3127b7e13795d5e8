"""Models from recipes and from run folders: config.json and model.safetensors, of a model or of a tokenizer alone.

A run of a whole model contains a tokenizer too, so `load_codec` accepts either kind of run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gss.config import Recipe, tokenizer_config
from gss.io.files import PathLike, replace_file, write_text
from gss.model.classifier import PixelClassifier
from gss.model.codec import MaskigeCodec
from gss.model.gss import GSS
from gss.model.tokenizers.protocol import build_tokenizer
from gss.palette import Palette

HUB = "hf://"
MODEL_FILE = "model.safetensors"

# config.json names this architecture where the folder holds a tokenizer alone.
ARCHITECTURE = "tokenizer"


def build_model(recipe: Recipe, palette: Palette) -> GSS | PixelClassifier:
    """The model of a recipe with random weights."""
    if recipe.model == "gss":
        return build_gss(recipe, palette)
    return PixelClassifier(palette, recipe.backbone, replace(recipe.prior), replace(recipe.inference))


def build_gss(recipe: Recipe, palette: Palette) -> GSS:
    """The generative model of a recipe with random weights. It has configurations of its own.

    >>> from gss.config.loading import load_recipe
    >>> build_gss(load_recipe("demo"), Palette.named("scenes")).palette.num_classes
    8
    """
    return GSS(
        palette,
        recipe.backbone,
        replace(recipe.tokenizer),
        replace(recipe.prior),
        replace(recipe.inverse),
        replace(recipe.inference),
        replace(recipe.token_prior) if "token_prior" in recipe.stages else None,
    )


def load(path: str | os.PathLike[str]) -> GSS | PixelClassifier:
    """The model of a run folder, or of a Hugging Face repository written hf://owner/name, in eval mode.

    Raises:
        FileNotFoundError: no such folder, or one without config.json, which a run gets when training has finished.
        ValueError: a configuration of no known architecture, or files that are damaged or do not fit each other.
    """
    if str(path).startswith(HUB):
        folder = Path(snapshot_download(str(path).removeprefix(HUB), allow_patterns=["config.json", "*.safetensors"]))
    else:
        folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder; a Hugging Face repository is written {HUB}owner/name")
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"{folder}: no {file}, so this is no finished run; `gss train ... --out {folder} --resume` finishes one"
            )
    try:
        architecture = json.loads((folder / "config.json").read_text()).get("architecture")
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{folder / 'config.json'}: no model configuration: {error}") from error
    for model in (GSS, PixelClassifier):
        if model.architecture == architecture:
            return _from_pretrained(model, folder)
    hint = "; it holds a tokenizer alone, for tokenizer_weights in a recipe" if architecture == "tokenizer" else ""
    raise ValueError(f"{folder / 'config.json'}: unknown architecture {architecture!r}{hint}")


def _from_pretrained(model: type[GSS] | type[PixelClassifier], folder: Path) -> GSS | PixelClassifier:
    try:
        # huggingface_hub announces local weights on standard output, where the caller's results go.
        with contextlib.redirect_stdout(io.StringIO()):
            loaded: GSS | PixelClassifier = model.from_pretrained(str(folder), strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"{folder / 'model.safetensors'}: damaged, or not of the model in config.json: {' '.join(reason[:3])}"
        ) from error
    except TypeError as error:
        raise ValueError(f"{folder / 'config.json'}: no configuration of {model.__name__}: {error}") from error
    return loaded.eval()


def save_codec(codec: MaskigeCodec, run: PathLike) -> None:
    """Write palette, sizes and weights of a tokenizer, the weights first: a run is finished once config.json is there.

    Raises ValueError for a codec with a learned X^-1, which such a folder has no place for.
    """
    if codec.inverse is not None:
        raise ValueError("codec: expected the nearest colour as X^-1, got a learned one")
    state = {name: value.contiguous().cpu() for name, value in codec.tokenizer.state_dict().items()}
    config = {
        "architecture": ARCHITECTURE,
        "palette": codec.palette.to_dict(),
        "tokenizer": asdict(codec.tokenizer.config),
    }
    with replace_file(Path(run, MODEL_FILE)) as temporary:
        save_file(state, temporary)
    write_text(Path(run, "config.json"), json.dumps(config, indent=2) + "\n")


def load_codec(run: PathLike) -> MaskigeCodec | GSS:
    """The tokenizer with its palette of a run: one of `gss tokenizer train`, or a whole model; in eval mode.

    Raises:
        FileNotFoundError: no such folder, or no finished run in it.
        ValueError: a model without a tokenizer, or files that are damaged or do not fit each other.
    """
    file = Path(run, "config.json")
    config = _read_config(file) if file.is_file() else {}
    if config.get("architecture") != ARCHITECTURE:
        model = load(run)
        if not isinstance(model, GSS):
            raise ValueError(f"{run}: a pixel classifier has no tokenizer")
        return model
    try:
        palette, tokenizer = (
            Palette.from_dict(config["palette"]),
            build_tokenizer(tokenizer_config(config["tokenizer"])),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: no configuration of a tokenizer: {error}") from error
    weights = Path(run, MODEL_FILE)
    try:
        tokenizer.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).strip().splitlines()[:3])
        raise ValueError(f"{weights}: damaged, or not of the tokenizer in config.json: {reason}") from error
    return MaskigeCodec(palette, tokenizer).eval()


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{file}: no model configuration: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file}: no model configuration: expected a JSON object")
    return config
