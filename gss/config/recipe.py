"""Settings of a whole training run."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from gss.config.fields import SETTINGS, Flag, Integer, NotNegative, Text
from gss.config.inference import InferenceConfig
from gss.config.network import InverseConfig, PosteriorConfig, PriorConfig, TokenPriorConfig
from gss.config.stage import StageConfig
from gss.config.tokenizer import CompactConfig, TokenizerConfig
from gss.config.validation import read_settings

Stage = Literal["tokenizer", "posterior", "prior", "inverse", "token_prior", "classifier"]


@dataclass(config=SETTINGS)
class Recipe:
    """A whole training run.

    Args:
        model: "gss" (generative) or "pixel-classifier" (the discriminative twin).
        palette: a shipped palette or a JSON file. A palette.json of other classes in the data folder replaces it.
        backbone: a transformers backbone configuration, see `gss.model.backbones.image_encoder.ImageEncoder`.
        pretrained: backbone weights to start from: a folder, a Hugging Face repository or a file; random without.
        tokenizer_weights: for the DALL-E dVAE a folder with the published encoder.pkl and decoder.pkl, or with their
            state dicts; for a VQGAN a checkpoint, or the folder of a diffusers VQModel; for the compact tokenizer a run
            of `gss tokenizer train`.
        start_from: a run of the same architecture whose weights training starts from; it may lack X^-1 and the prior
            over tokens.
        stages: the stages to train, in this order; none named means all that have something to learn. "tokenizer",
            "posterior" (the palette, and X^-1 with it), "prior" and "inverse" (X^-1), or "classifier" of the twin.
            "token_prior" is trained only where it is named; `gss sample` draws masks from it.
        official_parity: reproduce the defects of the official code, which docs/official.md lists.
        cache_gib: decoded images stay in memory between epochs if the whole train split fits into this; 0 never.
    """

    name: Text = ""
    description: Text = ""
    model: Literal["gss", "pixel-classifier"] = "gss"
    seed: Integer = 0
    palette: Text = "camvid"
    backbone: dict[str, Any] = field(default_factory=dict)
    pretrained: Text | None = None
    tokenizer: TokenizerConfig = field(default_factory=CompactConfig)
    tokenizer_weights: Text | None = None
    prior: PriorConfig = field(default_factory=PriorConfig)
    inverse: InverseConfig = field(default_factory=InverseConfig)
    start_from: Text | None = None
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    stages: tuple[Stage, ...] = ()
    tokenizer_stage: StageConfig = field(default_factory=StageConfig)
    posterior_stage: StageConfig = field(default_factory=StageConfig)
    prior_stage: StageConfig = field(default_factory=StageConfig)
    inverse_stage: StageConfig = field(default_factory=StageConfig)
    token_prior: TokenPriorConfig = field(default_factory=TokenPriorConfig)
    token_prior_stage: StageConfig = field(default_factory=StageConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    official_parity: Flag = False
    cache_gib: NotNegative = 4.0

    def validate(self) -> None:
        """Check again a recipe whose settings were assigned after its construction.

        Raises ValueError that names every setting that cannot work, what was expected and what came.
        """
        read_settings(Recipe, asdict(self))
