"""Recipes: everything that decides a training run, as dataclasses that check their values.

Without torch, so that errors in settings come quickly. Lengths are pixels unless a name says otherwise.
"""

from gss.config.inference import InferenceConfig
from gss.config.network import InverseConfig, PosteriorConfig, PriorConfig, TokenPriorConfig
from gss.config.recipe import Recipe
from gss.config.settings import as_config
from gss.config.stage import AugmentationConfig, StageConfig
from gss.config.tokenizer import CompactConfig, DalleConfig, TokenizerConfig, VqganConfig, tokenizer_config

__all__ = [
    "AugmentationConfig",
    "CompactConfig",
    "DalleConfig",
    "InferenceConfig",
    "InverseConfig",
    "PosteriorConfig",
    "PriorConfig",
    "Recipe",
    "StageConfig",
    "TokenPriorConfig",
    "TokenizerConfig",
    "VqganConfig",
    "as_config",
    "tokenizer_config",
]
