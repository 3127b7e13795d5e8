"""A whole training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .inference import InferenceConfig
from .network import InverseConfig, PriorConfig
from .ranges import NOT_NEGATIVE, RULES, require_in_range
from .stage import StageConfig
from .tokenizer import CompactConfig, TokenizerConfig


@dataclass
class Recipe:
    """A whole run. `model` is "gss" (generative) or "pixel-classifier" (the discriminative twin).

    `backbone` is a transformers backbone configuration, see `gss.backbones.ImageEncoder`. Its weights start random, or
    as those of `pretrained`: a folder or Hugging Face repository of the same architecture. Where the data folder has a
    palette.json, that replaces `palette`. `tokenizer_weights` is a folder with the published encoder.pkl and
    decoder.pkl of the DALL-E dVAE, or with their state dicts. `start_from` is a run of the same architecture, or of one
    that lacks only X^-1, whose weights training starts from.

    `stages` are those to train, in this order: "tokenizer", "prior" and "inverse" (X^-1), or "classifier" of the twin;
    none named means all that have something to learn. `official_parity` reproduces what is a defect of the official
    code instead of doing it right; docs/official.md lists these.

    Decoded images stay in memory between epochs if the whole train split fits into `cache_gib` GiB; otherwise every
    image is read anew each time. 0 always reads anew.
    """

    name: str = ""
    description: str = ""
    model: Literal["gss", "pixel-classifier"] = "gss"
    seed: int = 0
    palette: str = "camvid"
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    tokenizer: TokenizerConfig = field(default_factory=CompactConfig)
    tokenizer_weights: str | None = None
    prior: PriorConfig = field(default_factory=PriorConfig)
    inverse: InverseConfig = field(default_factory=InverseConfig)
    start_from: str | None = None
    stages: tuple[Literal["tokenizer", "prior", "inverse", "classifier"], ...] = ()
    tokenizer_stage: StageConfig = field(default_factory=StageConfig)
    prior_stage: StageConfig = field(default_factory=StageConfig)
    inverse_stage: StageConfig = field(default_factory=StageConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    official_parity: bool = False
    cache_gib: float = 4.0

    def validate(self) -> None:
        """Check the range of every number.

        Raises:
            ValueError: for the first that cannot work, with its dotted path, what was expected and what came.
        """
        require_in_range(self)
        try:
            self.inference.validate()
        except ValueError as error:
            raise ValueError(f"inference.{error}") from error


RULES[Recipe] = {"cache_gib": NOT_NEGATIVE}
