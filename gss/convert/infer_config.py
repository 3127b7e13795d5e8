"""The official configuration of a checkpoint, from the names and shapes of its weights.

Checkpoints hold their configuration only as Python text, which is not executed here. What shapes cannot tell takes the
value that the official configurations share: strides and dilations of ResNet-v1c, drop rates, weights of the losses.
Palette and test settings follow from the number of classes, as the official code has one of each for each data set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gss.convert.dalle import dalle_config
from gss.convert.names import BACKBONE, DALLE, HEAD, IN_INDEX
from gss.model.backbones.residual import Bottleneck
from gss.model.backbones.resnet import LAYOUTS
from gss.palette import Palette

# Number of classes -> palette of that data set, and its test settings (spec paragraph 4).
PALETTES = {19: "cityscapes", 150: "ade20k", 194: "mseg"}
_SLIDE = {"mode": "slide", "crop_size": (768, 768), "stride": (512, 512)}
TESTS: dict[int, dict[str, Any]] = {
    19: {**_SLIDE, "img_scale": (2048, 1024), "keep_ratio": False},
    150: {"mode": "whole", "img_scale": (2048, 512)},
    194: {**_SLIDE, "img_scale": (2048, 512)},
}
# No dimension of a weight is larger; products of two stay far from overflowing.
MAX_SIZE = 1 << 20
_NORM = {"type": "SyncBN", "requires_grad": True}
_TABLE = "attn.w_msa.relative_position_bias_table"


def config_from_state(state: Mapping[str, Tensor], palette: Palette | None = None) -> dict[str, Any]:
    """The mapping that `gss.convert.model_config` takes, for a state dict with `backbone.` and `decode_head.` names.

    Args:
        state: only names and shapes are looked at; tensors may be on the meta device.
        palette: None for that of the data set with this number of classes.

    Raises:
        ValueError: a weight that tells a size is missing or has another number of dimensions, the layout is none of
            the three backbones', or no palette is known for the number of classes.
    """
    for name, value in state.items():
        if any(not 1 <= length <= MAX_SIZE for length in value.shape):
            raise ValueError(f"{name}: expected sizes of 1 to {MAX_SIZE}, got shape {tuple(value.shape)}")
    head = _head(_Shapes(state, HEAD), palette)
    return {
        "type": "EncoderDecoder",
        "backbone": _backbone(_Shapes(state, BACKBONE)),
        "decode_head": head | {"d_vae": _dalle(state)},
        "test_cfg": TESTS.get(head["num_classes"], {"mode": "whole"}),
    }


class _Shapes:
    """Shapes below a prefix of a state dict, with errors that name the whole key."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str) -> None:
        self.prefix = prefix
        self.shapes = {k.removeprefix(prefix): tuple(v.shape) for k, v in state.items() if k.startswith(prefix)}

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def size(self, name: str, dimension: int, dimensions: int) -> int:
        shape = self.shapes.get(name)
        if shape is None:
            raise ValueError(f"{self.prefix}{name}: missing, and its shape tells how to build the model")
        if len(shape) != dimensions:
            raise ValueError(f"{self.prefix}{name}: expected {dimensions} dimensions, got shape {shape}")
        return shape[dimension]

    def count(self, pattern: str) -> int:
        """How many numbers 0, 1, ... the group of `pattern` matches at the start of a name."""
        matches = (re.match(pattern, name) for name in self.shapes)
        found = {int(match[1]) for match in matches if match and len(match[1]) < 6}
        if found != set(range(len(found))):
            raise ValueError(f"{self.prefix}{pattern}: expected numbers without a gap, got {sorted(found)}")
        return len(found)

    def window(self, name: str) -> tuple[int, int]:
        """Side of the window and number of heads of a bias table (spec paragraph 3): ((2 window - 1)^2, heads)."""
        return (math.isqrt(self.size(name, 0, 2)) + 1) // 2, self.size(name, 1, 2)


def _backbone(shapes: _Shapes) -> dict[str, Any]:
    if "patch_embed.projection.weight" in shapes:
        return _swin(shapes)
    if "stem.0.weight" in shapes:
        return _resnet(shapes)
    if "conv1.weight" in shapes and "transition1.0.0.weight" in shapes:
        return _hrnet(shapes)
    raise ValueError("backbone: expected the weights of SwinTransformer, ResNetV1c or HRNet, got another layout")


def _swin(shapes: _Shapes) -> dict[str, Any]:
    stages = shapes.count(r"stages\.(\d+)\.")
    depths = [shapes.count(rf"stages\.{stage}\.blocks\.(\d+)\.") for stage in range(stages)]
    tables = [shapes.window(f"stages.{stage}.blocks.0.{_TABLE}") for stage in range(stages)]
    if len({window for window, _ in tables}) != 1:
        raise ValueError(f"backbone: expected one window in all stages, got {[window for window, _ in tables]}")
    width = shapes.size("patch_embed.projection.weight", 0, 4)
    hidden = shapes.size("stages.0.blocks.0.ffn.layers.0.0.weight", 0, 2)
    if hidden % width:
        raise ValueError(f"backbone: expected a whole ratio of hidden channels to {width}, got {hidden} channels")
    return {
        "type": "SwinTransformer",
        "embed_dims": width,
        "depths": depths,
        "num_heads": [heads for _, heads in tables],
        "window_size": tables[0][0],
        "patch_size": shapes.size("patch_embed.projection.weight", 2, 4),
        "mlp_ratio": hidden // width,
        "qkv_bias": "stages.0.blocks.0.attn.w_msa.qkv.bias" in shapes,
        "drop_path_rate": 0.3,
    }


def _resnet(shapes: _Shapes) -> dict[str, Any]:
    counts = tuple(shapes.count(rf"layer{stage}\.(\d+)\.") for stage in range(1, 5))
    bottleneck = "layer1.0.conv3.weight" in shapes
    depths = [d for d, (block, blocks) in LAYOUTS.items() if blocks == counts and (block is Bottleneck) == bottleneck]
    if not depths:
        raise ValueError(f"backbone: expected the blocks of ResNet {', '.join(map(str, LAYOUTS))}, got {counts}")
    return {
        "type": "ResNetV1c",
        "depth": depths[0],
        "stem_channels": shapes.size("stem.6.weight", 0, 4),
        "base_channels": shapes.size("layer1.0.conv1.weight", 0, 4),
        "strides": (1, 2, 1, 1),
        "dilations": (1, 1, 2, 4),
        "contract_dilation": True,
        "norm_cfg": _NORM,
    }


def _hrnet(shapes: _Shapes) -> dict[str, Any]:
    def stage(blocks: list[str], modules: int) -> dict[str, Any]:
        return {
            "num_modules": modules,
            "block": "BOTTLENECK" if f"{blocks[0]}.0.conv3.weight" in shapes else "BASIC",
            "num_blocks": [shapes.count(rf"{re.escape(branch)}\.(\d+)\.") for branch in blocks],
            "num_channels": [shapes.size(f"{branch}.0.conv1.weight", 0, 4) for branch in blocks],
        }

    extra = {"stage1": stage(["layer1"], 1)}
    for number in (2, 3, 4):
        branches = [f"stage{number}.0.branches.{branch}" for branch in range(number)]
        extra[f"stage{number}"] = stage(branches, shapes.count(rf"stage{number}\.(\d+)\."))
    return {"type": "HRNet", "extra": extra, "norm_cfg": _NORM}


def _head(shapes: _Shapes, palette: Palette | None) -> dict[str, Any]:
    learned = "cls_segmap.conv.weight" in shapes
    num_classes = shapes.size("cls_segmap.conv.weight" if learned else "conv_seg_pixel.weight", 0, 4)
    if palette is None:
        if num_classes not in PALETTES:
            raise ValueError(f"palette: none is known for {num_classes} classes; give it")
        palette = Palette.named(PALETTES[num_classes])
    levels = shapes.count(r"convs\.(\d+)\.")
    window, heads = shapes.window(f"transformer_block.blocks.0.{_TABLE}")
    head = {
        "type": "GenerativeSegHeadFF"
        if "fusion_conv_pixel.conv.weight" in shapes
        else "GenerativeSegHeadFFSingleFusion",
        "in_channels": [shapes.size(f"convs.{level}.conv.weight", 1, 4) for level in range(levels)],
        "in_index": list(IN_INDEX),
        "num_classes": num_classes,
        "palette": [*palette.colors, palette.ignore_color],
        "channels": shapes.size("convs.0.conv.weight", 0, 4),
        "indice_seg_channel": shapes.size("fusion_conv.conv.weight", 0, 4),
        "indice_cls_channel": shapes.size("conv_before_seg.conv.weight", 0, 4),
        "swin_depth": shapes.count(r"transformer_block\.blocks\.(\d+)\."),
        "swin_num_head": heads,
        "swin_window_size": window,
        "dropout_ratio": 0.1,
        "norm_cfg": _NORM,
        "loss_decode": [
            {"type": "CrossEntropyLoss", "loss_name": "loss_ce", "loss_weight": 0.8},
            {"type": "CrossEntropyLoss", "loss_name": "loss_ce_pixel", "loss_weight": 0.2},
        ],
    }
    if learned:
        window, heads = shapes.window(f"post_transformer_block.blocks.0.{_TABLE}")
        head |= {
            "type": "GenerativeSegHeadFTW",
            "post_seg_channel": shapes.size("projection.conv.weight", 0, 4),
            "post_swin_depth": shapes.count(r"post_transformer_block\.blocks\.(\d+)\."),
            "post_swin_num_head": heads,
            "post_swin_window_size": window,
            "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 1.0},
        }
    return head


def _dalle(state: Mapping[str, Tensor]) -> dict[str, Any]:
    weights = {key.removeprefix(DALLE): value for key, value in state.items() if key.startswith(DALLE)}
    if not weights:
        raise ValueError(f"{DALLE}*: the checkpoint has no dVAE; give its published files")
    config = dalle_config(weights)
    return {
        "enc": {
            "n_hid": config.encoder_width,
            "n_blk_per_group": config.encoder_blocks,
            "vocab_size": config.codes,
        },
        "dec": {
            "n_init": config.code_dim,
            "n_hid": config.decoder_width,
            "n_blk_per_group": config.decoder_blocks,
            "vocab_size": config.codes,
        },
    }
