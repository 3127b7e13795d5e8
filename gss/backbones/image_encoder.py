"""A photo in, feature maps at several strides out, whichever transformers backbone does the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import transformers_attention

ATTENTION = "gss"

# The ImageNet statistics that nearly every published backbone was trained with, for images in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class ImageEncoder(nn.Module):
    """uint8 images (B, 3, H, W) -> feature maps, finest first, of `channels` channels.

    Args:
        config: a transformers backbone configuration as a mapping: `model_type` ("resnet", "swin", "dinov2", ...) and
            that configuration's own keys, `out_features` among them. Weights are random.

    Raises:
        ValueError: no `model_type`, or one that transformers does not know.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        from transformers import AttentionInterface, AutoBackbone, AutoConfig

        super().__init__()
        AttentionInterface.register(ATTENTION, transformers_attention)
        keys = dict(config)
        model_type = keys.pop("model_type", None)
        if not isinstance(model_type, str):
            raise ValueError(f"backbone.model_type: expected the name of a transformers model, got {model_type!r}")
        self.backbone = AutoBackbone.from_config(AutoConfig.for_model(model_type, **keys))
        if getattr(self.backbone, "_supports_attention_backend", False):
            self.backbone.set_attn_implementation(ATTENTION)
        self.channels: list[int] = list(self.backbone.channels)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        pixels = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return list(self.backbone(pixels).feature_maps)

    def load_pretrained(self, name: str) -> None:
        """Take the weights of a checkpoint of this architecture: a folder, or a Hugging Face repository.

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
