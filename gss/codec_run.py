"""The run folder of a tokenizer alone: config.json and model.safetensors, as `gss tokenizer train` leaves them.

A whole model's run has a tokenizer too, so whatever needs a tokenizer and its palette takes either.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .config import tokenizer_config
from .files import PathLike, replace_file, write_text
from .model import GSS, load
from .palette import Palette
from .reconstruction import MaskigeCodec
from .tokenizers.protocol import build_tokenizer

# What config.json says in the place of a model's architecture.
ARCHITECTURE = "tokenizer"
MODEL_FILE = "model.safetensors"


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
