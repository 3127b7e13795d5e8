"""Maskige tokenizers, told apart by their `type`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from gss.config.settings import CHECKED, Count, CountOrZero, Flag, NotNegative, Positive, as_config


@dataclass(config=CHECKED)
class CompactConfig:
    """The compact maskige tokenizer, trained on label maps by the first stage."""

    type: Literal["compact"] = "compact"
    # Paint the labels of every training step in new random colours. The tokenizer then learns colours and not the
    # classes of one palette, like the DALL-E dVAE, and works with every palette.
    any_palette: Flag = False
    stride: Count = 4  # maskige pixels along each side of a token; the maskige has stride / 4 pixels per image pixel
    codes: Count = 1024  # V, the size of the codebook
    code_dim: Count = 16  # D, channels of a code
    width: Count = 96  # channels at token resolution
    encoder_blocks: CountOrZero = 2
    decoder_blocks: CountOrZero = 3
    commitment: NotNegative = 0.25  # weight of the loss between encoder output and code
    classification: NotNegative = 1.0  # weight of the cross-entropy of the decoded colours
    temperature: Positive = 0.1  # of squared colour distances in that cross-entropy
    class_balance: NotNegative = 0.5  # b: losses weigh classes by share^-b
    ema_decay: Annotated[Positive, Field(lt=1)] = 0.99  # of the moving averages that the codes follow


@dataclass(config=CHECKED)
class DalleConfig:
    """Sizes of the DALL-E dVAE, the paper's tokenizer, never trained here. The defaults are the published model's."""

    type: Literal["dalle"] = "dalle"
    codes: Count = 8192  # V, the size of the codebook
    encoder_width: Annotated[Count, Field(ge=4)] = 256  # channels at full resolution; eight times that at tokens
    decoder_width: Annotated[Count, Field(ge=4)] = 256  # the same of the decoder
    code_dim: Count = 128  # D, channels of a token's embedding in the decoder
    encoder_blocks: Count = 2  # blocks in each of four groups
    decoder_blocks: Count = 2


@dataclass(config=CHECKED)
class VqganConfig:
    """Sizes of a VQGAN (arXiv 2012.09841), never trained here. The defaults are the ImageNet model of stride 16."""

    type: Literal["vqgan"] = "vqgan"
    codes: Count = 16384  # V, the size of the codebook
    code_dim: Count = 256  # D, channels of a code
    # Channels of each level, finest first. Every further level halves the resolution.
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (128, 128, 256, 256, 512)
    blocks: Count = 2  # residual blocks per level in the encoder; the decoder has one more
    attention_levels: tuple[CountOrZero, ...] = (4,)  # levels with attention after each block, counted from 0
    middle_attention: Flag = True  # attention between the two blocks at token resolution
    latent_channels: Count = 256  # between the networks and the codes
    groups: Count = 32  # of each normalisation

    @property
    def stride(self) -> int:
        """Maskige pixels along each side of a token."""
        return 2 ** (len(self.channels) - 1)

    @model_validator(mode="after")
    def _sizes_fit(self) -> VqganConfig:
        if any(width % self.groups for width in self.channels):
            raise ValueError(f"channels: expected multiples of groups ({self.groups}), got {list(self.channels)}")
        if max(self.attention_levels, default=0) >= len(self.channels):
            raise ValueError(
                f"attention_levels: expected 0..{len(self.channels) - 1}, got {list(self.attention_levels)}"
            )
        return self


def _with_type(value: Any) -> Any:
    return {"type": "compact", **value} if isinstance(value, Mapping) else value


TokenizerConfig = CompactConfig | DalleConfig | VqganConfig
AnyTokenizer = Annotated[TokenizerConfig, Field(discriminator="type"), BeforeValidator(_with_type)]


@dataclass(config=CHECKED)
class _Holder:
    tokenizer: AnyTokenizer = field(default_factory=CompactConfig)


def tokenizer_config(value: TokenizerConfig | Mapping[str, Any]) -> TokenizerConfig:
    """`value` as a tokenizer's configuration: its `type` says which, "compact" where it has none.

    Raises what `as_config` raises, and TypeError for None, since no tokenizer can be guessed for a model.

    >>> tokenizer_config({"type": "dalle", "codes": 64}).codes
    64
    """
    if not isinstance(value, Mapping | TokenizerConfig):
        raise TypeError(f"tokenizer: expected a mapping or a tokenizer's configuration, got {type(value).__name__}")
    return as_config(_Holder, {"tokenizer": value}).tokenizer
