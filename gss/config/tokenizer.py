"""Maskige tokenizers, told apart by their `type`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gss.config.ranges import AT_LEAST_1, NOT_NEGATIVE, POSITIVE, RULES


@dataclass
class CompactConfig:
    """The compact maskige tokenizer, trained on label maps by the first stage.

    `stride` maskige pixels a token side, `codes` V, `code_dim` D, `width` channels at token resolution. The maskige has
    `stride` / 4 pixels an image pixel side, since a token stands for a quarter-size cell of the image. With
    `any_palette` every training step paints the labels in new random colours: the tokenizer then knows colours and not
    the classes of one palette, as the DALL-E dVAE does, and fits every palette.
    """

    type: Literal["compact"] = "compact"
    any_palette: bool = False
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


@dataclass
class VqganConfig:
    """Sizes of a VQGAN (arXiv 2012.09841); the defaults are the ImageNet model of stride 16. Never trained here.

    `codes` V of `code_dim` D; `channels` of each level, finest first: every further level halves the resolution, so a
    token stands for 2^(levels - 1) pixels a side. `blocks` residual blocks a level in the encoder, one more in the
    decoder. `attention_levels` are those with attention after each block; `middle_attention` is that between the two
    blocks at token resolution. `latent_channels` lie between the networks and the codes. Each normalisation has
    `groups` groups.
    """

    type: Literal["vqgan"] = "vqgan"
    codes: int = 16384
    code_dim: int = 256
    channels: tuple[int, ...] = (128, 128, 256, 256, 512)
    blocks: int = 2
    attention_levels: tuple[int, ...] = (4,)
    middle_attention: bool = True
    latent_channels: int = 256
    groups: int = 32

    def __post_init__(self) -> None:
        # JSON has lists
        self.channels, self.attention_levels = tuple(self.channels), tuple(self.attention_levels)

    @property
    def stride(self) -> int:
        """Maskige pixels a token side."""
        return 2 ** (len(self.channels) - 1)


RULES[VqganConfig] = {
    "codes": AT_LEAST_1,
    "code_dim": AT_LEAST_1,
    "channels": ("one number a level, each at least 1", lambda value: len(value) > 0 and min(value) >= 1),
    "blocks": AT_LEAST_1,
    "attention_levels": ("levels counted from 0", lambda value: min(value, default=0) >= 0),
    "latent_channels": AT_LEAST_1,
    "groups": AT_LEAST_1,
}


TokenizerConfig = CompactConfig | DalleConfig | VqganConfig
TOKENIZERS: dict[str, type[CompactConfig] | type[DalleConfig] | type[VqganConfig]] = {
    "compact": CompactConfig,
    "dalle": DalleConfig,
    "vqgan": VqganConfig,
}


def tokenizer_config(settings: Mapping[str, Any]) -> TokenizerConfig:
    """The configuration that a mapping describes: its `type` says which, "compact" where it has none.

    Raises ValueError for another type.
    """
    kind = settings.get("type", "compact")
    if kind not in TOKENIZERS:
        raise ValueError(f"tokenizer.type: expected {' or '.join(TOKENIZERS)}, got {kind!r}")
    return TOKENIZERS[kind](**settings)
