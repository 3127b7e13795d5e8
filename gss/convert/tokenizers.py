"""Trained weights for the tokenizer that a configuration describes, from whatever holds them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from gss.config import CompactConfig, DalleConfig, TokenizerConfig
from gss.convert.dalle import read_dalle
from gss.convert.vqgan import read_vqgan
from gss.io.files import PathLike
from gss.model.loading import load_codec
from gss.model.tokenizers.compact import CompactTokenizer
from gss.model.tokenizers.dalle import DalleTokenizer
from gss.model.tokenizers.vqgan import VqganTokenizer


def read_tokenizer(config: TokenizerConfig, path: PathLike) -> CompactTokenizer | DalleTokenizer | VqganTokenizer:
    """The tokenizer of this configuration with the weights at `path`.

    Args:
        config: what the weights must be of.
        path: for "dalle" a folder with encoder.pkl and decoder.pkl; for "vqgan" a checkpoint, a safetensors file or the
            folder of a diffusers VQModel; for "compact" a run of `gss tokenizer train` or `gss train`.

    Raises:
        ValueError: the weights are damaged, or of another configuration, which the message describes.
        OSError: a file cannot be read.
    """
    tokenizer: CompactTokenizer | DalleTokenizer | VqganTokenizer
    if isinstance(config, CompactConfig):
        tokenizer = load_codec(path).tokenizer
    elif isinstance(config, DalleConfig):
        tokenizer = read_dalle(Path(path, "encoder.pkl"), Path(path, "decoder.pkl"))
    else:
        tokenizer = read_vqgan(path)
    found, wanted = _sizes(tokenizer.config), _sizes(config)
    differing = [f"{key} {value!r}, expected {wanted.get(key)!r}" for key, value in found.items()
                 if value != wanted.get(key)]  # fmt: skip
    if differing:
        raise ValueError(f"{path}: another tokenizer than configured: {'; '.join(differing)}")
    return tokenizer


def _sizes(config: TokenizerConfig) -> dict[str, Any]:
    """The settings that decide the shapes of the weights, without those of their training."""
    training = ("any_palette", "commitment", "classification", "temperature", "class_balance", "ema_decay")
    return {key: value for key, value in asdict(config).items() if key not in training}
