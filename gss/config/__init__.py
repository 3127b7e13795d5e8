"""Recipes: all settings of a training run, as dataclasses that check themselves and are read from YAML.

Nothing here imports torch. Lengths are in pixels unless a name says otherwise; `scale` is a ratio.
"""

from gss.config.inference import InferenceConfig
from gss.config.network import InverseConfig, PosteriorConfig, PriorConfig, TokenPriorConfig
from gss.config.recipe import Recipe
from gss.config.stage import AugmentationConfig, StageConfig
from gss.config.tokenizer import CompactConfig, DalleConfig, TokenizerConfig, VqganConfig
from gss.config.validation import SettingsError, as_config, tokenizer_config

__all__ = [
    "AugmentationConfig",
    "CompactConfig",
    "DalleConfig",
    "InferenceConfig",
    "InverseConfig",
    "PosteriorConfig",
    "PriorConfig",
    "Recipe",
    "SettingsError",
    "StageConfig",
    "TokenPriorConfig",
    "TokenizerConfig",
    "VqganConfig",
    "as_config",
    "tokenizer_config",
]
