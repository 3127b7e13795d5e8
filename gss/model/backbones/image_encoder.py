"""The image encoder: a photo in, feature maps at several strides out, from a backbone of transformers or our own."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gss.model.attention import transformers_attention
from gss.model.backbones.hrnet import HRNetV2
from gss.model.backbones.resnet import ResNetV1c

ATTENTION = "gss"

# Official backbones that transformers lacks, by the name that `model_type` gives them.
OWN: dict[str, type[HRNetV2] | type[ResNetV1c]] = {"resnet_v1c": ResNetV1c, "hrnet_v2": HRNetV2}

# The ImageNet statistics that nearly every published backbone was trained with, for images in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class ImageEncoder(nn.Module):
    """uint8 images (B, 3, H, W) -> feature maps, finest first, of `channels` channels.

    Args:
        config: a transformers backbone configuration as a mapping: `model_type` ("resnet", "swin", "dinov2", ...) and
            that configuration's own keys, `out_features` among them. "resnet_v1c" and "hrnet_v2" are `ResNetV1c` and
            `HRNetV2` of this package, with the keys of their constructors. Weights are random.

    Raises:
        ValueError: no `model_type` or an unknown one, a key that its configuration does not have or a value it cannot
            build, or a finest map that is not a quarter of the image's side.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = _own(config) if config.get("model_type") in OWN else _transformers(config)
        self.channels: list[int] = list(self.backbone.channels)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)
        self._require_quarter_size()

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.maps((images.float() - self.mean) / self.std)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The feature maps of images that are normalised already, floats (B, 3, H, W)."""
        maps = self.backbone(pixels.contiguous(memory_format=torch.channels_last))
        return maps if isinstance(maps, list) else list(maps.feature_maps)

    @torch.no_grad()
    def _require_quarter_size(self) -> None:
        """A token stands for a 4x4 cell of the image, so the finest map has to have a quarter of its side."""
        self.eval()
        height, width = self(torch.zeros(1, 3, 64, 64))[0].shape[-2:]
        self.train()
        if (height, width) != (16, 16):
            raise ValueError(
                "backbone.out_features: expected the finest feature map at a quarter of the image's side, "
                f"got {height} x {width} for 64 x 64"
            )

    def load_pretrained(self, name: str) -> None:
        """Copy the weights of a transformers checkpoint of this architecture: a folder, or a Hugging Face repository.

        `gss.convert.backbones.load_pretrained` also reads files in the layout of official checkpoints.

        Raises ValueError if the checkpoint lacks weights that this configuration has, or has them in another shape.
        """
        try:
            source, found = type(self.backbone).from_pretrained(
                name, config=self.backbone.config, output_loading_info=True
            )
        except RuntimeError as error:
            raise ValueError(f"pretrained: {name} does not fit the backbone configuration: {error}") from error
        # Published classifiers have no norms on the intermediate maps; those start fresh, as is usual.
        missing = sorted(key for key in found["missing_keys"] if "hidden_states_norms" not in key)
        if missing:
            raise ValueError(
                f"pretrained: {name} does not fit the backbone configuration: "
                f"it lacks {len(missing)} weights, among them {', '.join(missing[:3])}"
            )
        self.backbone.load_state_dict(source.state_dict())


def _own(config: Mapping[str, Any]) -> Any:
    keys = {key: value for key, value in config.items() if key != "model_type"}
    backbone = OWN[config["model_type"]]
    known = list(inspect.signature(backbone).parameters)
    for key in keys:
        if key not in known:
            raise ValueError(f"backbone.{key}: {backbone.__name__} has no such key{_hint(key, known, 1)}")
    try:
        return backbone(**keys)
    except ValueError as error:
        raise ValueError(f"backbone.{error}") from error
    except TypeError as error:
        raise ValueError(f"backbone: {backbone.__name__} got a value of the wrong type: {error}") from error


def _transformers(config: Mapping[str, Any]) -> Any:
    from transformers import AttentionInterface, AutoBackbone

    AttentionInterface.register(ATTENTION, transformers_attention)
    backbone = AutoBackbone.from_config(_transformers_config(config))
    if getattr(backbone, "_supports_attention_backend", False):
        backbone.set_attn_implementation(ATTENTION)
    drop_ffn_paths(backbone)
    return backbone


def _hint(word: str, known: list[str], count: int) -> str:
    close = difflib.get_close_matches(word, known, n=count)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _transformers_config(keys: Mapping[str, Any]) -> Any:
    """The configuration that `keys` describe; transformers itself would take unknown keys without a word."""
    from transformers import CONFIG_MAPPING

    known = {key: value for key, value in keys.items() if key != "model_type"}
    model_type = keys.get("model_type")
    if model_type not in CONFIG_MAPPING:
        hint = _hint(str(model_type), [*OWN, *CONFIG_MAPPING.keys()], 3)
        raise ValueError(
            f"backbone.model_type: expected the name of a transformers model, got {model_type!r}{hint} "
            f"(beside those there are {' and '.join(OWN)})"
        )
    configuration = CONFIG_MAPPING[model_type]
    default = configuration()
    for key in known:
        if not hasattr(default, key):
            hint = _hint(key, list(vars(default)), 1)
            raise ValueError(f"backbone.{key}: {configuration.__name__} has no such key{hint}")
    return configuration(**known)


def drop_ffn_paths(backbone: nn.Module) -> None:
    """Let the feed-forward path of every Swin block be dropped in training as its attention path is.

    This is the published form (Liu et al. 2021); the official GSS backbones train with it. Evaluation is unchanged.
    """
    layer: Any
    for layer in backbone.modules():
        if type(layer).__name__ == "SwinLayer" and not isinstance(layer.drop_path, nn.Identity):
            # A partial object, not a closure: a deep copy of the model then drops with its own modules.
            layer.mlp.register_forward_hook(partial(_drop, layer.drop_path))


def _drop(drop_path: nn.Module, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return drop_path(output)
