"""Maskige tokenizers, told apart by their `type`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .ranges import AT_LEAST_1, NOT_NEGATIVE, POSITIVE, RULES


@dataclass
class CompactConfig:
    """The compact maskige tokenizer, trained on label maps by the first stage.

    `stride` maskige pixels a token side, `codes` V, `code_dim` D, `width` channels at token resolution. The maskige has
    `stride` / 4 pixels an image pixel side, since a token stands for a quarter-size cell of the image.
    """

    type: Literal["compact"] = "compact"
    stride: int = 4
    codes: int = 1024
    code_dim: int = 16
    width: int = 96
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    commitment: float = 0.25
    classification: float = 1.0
    temperature: float = 0.1
    class_balance: float = 0.5
    ema_decay: float = 0.99


RULES[CompactConfig] = {
    "stride": AT_LEAST_1,
    "codes": AT_LEAST_1,
    "code_dim": AT_LEAST_1,
    "width": AT_LEAST_1,
    "encoder_blocks": NOT_NEGATIVE,
    "decoder_blocks": NOT_NEGATIVE,
    "commitment": NOT_NEGATIVE,
    "classification": NOT_NEGATIVE,
    "temperature": POSITIVE,
    "class_balance": NOT_NEGATIVE,
    "ema_decay": ("more than 0 and less than 1", lambda value: 0 < value < 1),
}


@dataclass
class DalleConfig:
    """Sizes of the DALL-E dVAE, the tokenizer of the paper; the defaults are the published model's. Never trained here.

    `codes` V; `encoder_width` and `decoder_width` channels at full resolution (eight times that at token resolution);
    `code_dim` D, the channels a token becomes first; four groups of so many blocks each.
    """

    type: Literal["dalle"] = "dalle"
    codes: int = 8192
    encoder_width: int = 256
    decoder_width: int = 256
    code_dim: int = 128
    encoder_blocks: int = 2
    decoder_blocks: int = 2


RULES[DalleConfig] = {
    "codes": AT_LEAST_1,
    "encoder_width": ("at least 4, to take a quarter of", lambda value: value >= 4),
    "decoder_width": ("at least 4, to take a quarter of", lambda value: value >= 4),
    "code_dim": AT_LEAST_1,
    "encoder_blocks": AT_LEAST_1,
    "decoder_blocks": AT_LEAST_1,
}


TokenizerConfig = CompactConfig | DalleConfig
TOKENIZERS: dict[str, type[CompactConfig] | type[DalleConfig]] = {"compact": CompactConfig, "dalle": DalleConfig}


def tokenizer_config(settings: Mapping[str, Any]) -> TokenizerConfig:
    """The configuration that a mapping describes: its `type` says which, "compact" where it has none.

    Raises ValueError for another type.
    """
    kind = settings.get("type", "compact")
    if kind not in TOKENIZERS:
        raise ValueError(f"tokenizer.type: expected {' or '.join(TOKENIZERS)}, got {kind!r}")
    return TOKENIZERS[kind](**settings)
