"""Stochastic depth on both paths of a Swin block, where transformers has it on attention alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn


def drop_ffn_paths(backbone: nn.Module) -> None:
    """Let the feed-forward path of every Swin block be dropped in training as its attention path is.

    That is the published form (Liu et al. 2021), which the official GSS backbones train with. Evaluation is unchanged.
    """
    layer: Any
    for layer in backbone.modules():
        if type(layer).__name__ == "SwinLayer" and not isinstance(layer.drop_path, nn.Identity):
            # A partial object, not a closure: a deep copy of the model then drops with its own modules.
            layer.mlp.register_forward_hook(partial(_drop, layer.drop_path))


def _drop(drop_path: nn.Module, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return drop_path(output)
