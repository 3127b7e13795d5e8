"""Settings of the maskige tokenizers, told apart by their `type`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from gss.config.fields import SETTINGS, AtLeast0, AtLeast1, Flag, Integer, NotNegative, Number, Positive


@dataclass(config=SETTINGS)
class CompactConfig:
    """The compact maskige tokenizer, trained on label maps by the first stage.

    Args:
        any_palette: every training step paints the labels in new random colours. The tokenizer then learns colours
            instead of the classes of one palette, as the DALL-E dVAE does, and fits every palette.
        stride: maskige pixels of a token along a side. The maskige has stride / 4 pixels for each image pixel along a
            side, since a token stands for a cell of 4x4 image pixels.
        codes: V, size of the codebook.
        code_dim: D, dimensions of a code.
        width: channels at token resolution.
        commitment, classification: weights of these losses beside the colour loss.
        temperature: of the squared palette distances in the classification loss.
        class_balance: b weighs classes by share^-b in the classification loss.
        ema_decay: of the counts and sums that move the codebook.
    """

    type: Literal["compact"] = "compact"
    any_palette: Flag = False
    stride: AtLeast1 = 4
    codes: AtLeast1 = 1024
    code_dim: AtLeast1 = 16
    width: AtLeast1 = 96
    encoder_blocks: AtLeast0 = 2
    decoder_blocks: AtLeast0 = 3
    commitment: NotNegative = 0.25
    classification: NotNegative = 1.0
    temperature: Positive = 0.1
    class_balance: NotNegative = 0.5
    ema_decay: Annotated[Number, Field(gt=0, lt=1)] = 0.99


# A residual path has a quarter of the channels.
Width = Annotated[Integer, Field(ge=4)]


@dataclass(config=SETTINGS)
class DalleConfig:
    """The DALL-E dVAE, the tokenizer of the paper; the defaults are the published sizes. It is never trained here.

    Args:
        codes: V, size of the codebook.
        encoder_width, decoder_width: channels at full resolution; token resolution has eight times as many.
        code_dim: D, channels of the decoder's first layer.
        encoder_blocks, decoder_blocks: residual blocks in each of the four groups.
    """

    type: Literal["dalle"] = "dalle"
    codes: AtLeast1 = 8192
    encoder_width: Width = 256
    decoder_width: Width = 256
    code_dim: AtLeast1 = 128
    encoder_blocks: AtLeast1 = 2
    decoder_blocks: AtLeast1 = 2


@dataclass(config=SETTINGS)
class VqganConfig:
    """A VQGAN (arXiv 2012.09841); the defaults are the ImageNet model of stride 16. It is never trained here.

    Args:
        codes, code_dim: V and D of the codebook.
        channels: of each level, finest first; every further level halves the resolution.
        blocks: residual blocks a level in the encoder; the decoder has one more.
        attention_levels: levels with attention after each block, counted from 0.
        middle_attention: attention between the two blocks at token resolution.
        latent_channels: between the networks and the codes.
        groups: of each group normalisation.
    """

    type: Literal["vqgan"] = "vqgan"
    codes: AtLeast1 = 16384
    code_dim: AtLeast1 = 256
    channels: Annotated[tuple[AtLeast1, ...], Field(min_length=1)] = (128, 128, 256, 256, 512)
    blocks: AtLeast1 = 2
    attention_levels: tuple[AtLeast0, ...] = (4,)
    middle_attention: Flag = True
    latent_channels: AtLeast1 = 256
    groups: AtLeast1 = 32

    @property
    def stride(self) -> int:
        """Maskige pixels of a token along a side."""
        return 2 ** (len(self.channels) - 1)


TOKENIZERS: dict[str, type[CompactConfig] | type[DalleConfig] | type[VqganConfig]] = {
    "compact": CompactConfig,
    "dalle": DalleConfig,
    "vqgan": VqganConfig,
}


def _kind(value: Any) -> Any:
    return value.get("type", "compact") if isinstance(value, Mapping) else getattr(value, "type", value)


TokenizerConfig = Annotated[
    Annotated[CompactConfig, Tag("compact")]
    | Annotated[DalleConfig, Tag("dalle")]
    | Annotated[VqganConfig, Tag("vqgan")],
    Discriminator(_kind),
]
