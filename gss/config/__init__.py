"""Recipes: everything that decides a training run, as plain dataclasses read from YAML.

Torch-free on purpose, so that `gss --help` and config errors cost no import of torch. Lengths are pixels unless a
name says otherwise; `scale` is a ratio.
"""

from gss.config.inference import InferenceConfig
from gss.config.network import InverseConfig, PosteriorConfig, PriorConfig, TokenPriorConfig
from gss.config.ranges import AT_LEAST_1, RULES, Rule, require_in_range
from gss.config.recipe import Recipe
from gss.config.stage import AugmentationConfig, StageConfig
from gss.config.tokenizer import TOKENIZERS, CompactConfig, DalleConfig, TokenizerConfig, VqganConfig, tokenizer_config

__all__ = [
    "as_config",
    "AT_LEAST_1",
    "RULES",
    "TOKENIZERS",
    "AugmentationConfig",
    "CompactConfig",
    "DalleConfig",
    "InferenceConfig",
    "InverseConfig",
    "PosteriorConfig",
    "PriorConfig",
    "Recipe",
    "Rule",
    "StageConfig",
    "TokenPriorConfig",
    "TokenizerConfig",
    "VqganConfig",
    "require_in_range",
    "tokenizer_config",
]


def as_config(kind, value):  # type: ignore
    settings = value if isinstance(value, kind) else kind(**(value or {}))
    if hasattr(settings, "validate"):
        settings.validate()
    return settings
