"""A whole training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from gss.config.inference import InferenceConfig
from gss.config.network import InverseConfig, PosteriorConfig, PriorConfig, TokenPriorConfig
from gss.config.ranges import NOT_NEGATIVE, RULES, require_in_range
from gss.config.stage import StageConfig
from gss.config.tokenizer import CompactConfig, TokenizerConfig


@dataclass
class Recipe:
    """A whole run. `model` is "gss" (generative) or "pixel-classifier" (the discriminative twin).

    `backbone` is a transformers backbone configuration, see `ImageEncoder`. Its weights start random, or
    as those of `pretrained`: a folder or Hugging Face repository of the same architecture. `palette` is a shipped one
    or a JSON file; where the data folder has a palette.json of other classes, that replaces it. `tokenizer_weights` is,
    for the DALL-E dVAE, a folder with the published encoder.pkl and decoder.pkl, or with their state dicts; for a VQGAN
    a checkpoint, or the folder of a diffusers VQModel; for the compact tokenizer a run of `gss tokenizer train`.
    `start_from` is a run of the same architecture, or of one that lacks only X^-1, whose weights training starts from.

    `stages` are those to train, in this order: "tokenizer", "posterior" (the palette, and X^-1 with it), "prior" and
    "inverse" (X^-1), or "classifier" of the twin; none named means all that have something to learn. Only where it is
    named, "token_prior" learns to draw masks without an image, for `gss sample`. `official_parity` reproduces what is a
    defect of the official code instead of doing it right; docs/official.md lists these.

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
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    stages: tuple[Literal["tokenizer", "posterior", "prior", "inverse", "token_prior", "classifier"], ...] = ()
    tokenizer_stage: StageConfig = field(default_factory=StageConfig)
    posterior_stage: StageConfig = field(default_factory=StageConfig)
    prior_stage: StageConfig = field(default_factory=StageConfig)
    inverse_stage: StageConfig = field(default_factory=StageConfig)
    token_prior: TokenPriorConfig = field(default_factory=TokenPriorConfig)
    token_prior_stage: StageConfig = field(default_factory=StageConfig)
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
