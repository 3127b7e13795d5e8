"""A whole training run."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from gss.config.inference import InferenceConfig
from gss.config.network import InverseConfig, PosteriorConfig, PriorConfig, TokenPriorConfig
from gss.config.settings import CHECKED, Flag, NotNegative, Whole
from gss.config.stage import StageConfig
from gss.config.tokenizer import AnyTokenizer, CompactConfig


@dataclass(config=CHECKED)
class Recipe:
    """Everything that decides a training run."""

    name: str = ""
    description: str = ""
    model: Literal["gss", "pixel-classifier"] = "gss"  # the generative model, or its discriminative twin
    seed: Whole = 0
    # A shipped palette or a JSON file. A palette.json of other classes in the data folder replaces it.
    palette: str = "camvid"
    backbone: dict[str, Any] = field(default_factory=dict)  # a transformers configuration, see `ImageEncoder`
    # Weights of the backbone: a folder or Hugging Face repository of the same architecture; None for random weights.
    pretrained: str | None = None
    tokenizer: AnyTokenizer = field(default_factory=CompactConfig)
    # Weights of the tokenizer. DALL-E dVAE: a folder with the published encoder.pkl and decoder.pkl, or with their
    # state dicts. VQGAN: a checkpoint, or the folder of a diffusers VQModel. Compact: a run of `gss tokenizer train`.
    tokenizer_weights: str | None = None
    prior: PriorConfig = field(default_factory=PriorConfig)
    inverse: InverseConfig = field(default_factory=InverseConfig)
    # A run whose weights training starts from, of the same architecture or of one that lacks only X^-1.
    start_from: str | None = None
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    # Stages to train, in this order: "posterior" learns the palette, and X^-1 with it; "inverse" learns X^-1;
    # "classifier" is the twin's. Empty: all that have something to learn, except "token_prior", which learns to draw
    # masks without an image, for `gss sample`.
    stages: tuple[Literal["tokenizer", "posterior", "prior", "inverse", "token_prior", "classifier"], ...] = ()
    tokenizer_stage: StageConfig = field(default_factory=StageConfig)
    posterior_stage: StageConfig = field(default_factory=StageConfig)
    prior_stage: StageConfig = field(default_factory=StageConfig)
    inverse_stage: StageConfig = field(default_factory=StageConfig)
    token_prior: TokenPriorConfig = field(default_factory=TokenPriorConfig)
    token_prior_stage: StageConfig = field(default_factory=StageConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    official_parity: Flag = False  # reproduce the defects of the official code, listed in docs/official.md
    # Decoded images stay in memory between epochs if the whole train split fits into this; 0 reads every image anew.
    cache_gib: NotNegative = 4.0
