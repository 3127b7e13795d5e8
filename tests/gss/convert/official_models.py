"""Small models in the layouts of the ten official configurations, and checkpoints as the official code writes them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.convert.model_config import gss_arguments
from gss.convert.names import official_names, to_official
from gss.model.gss import GSS
from gss.model.swin import relative_position_index
from gss.palette import get_palette

CE = "CrossEntropyLoss"
NORM = {"type": "SyncBN", "requires_grad": True}
BACKBONES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "swin": (
        {
            "type": "SwinTransformer",
            "embed_dims": 4,
            "depths": [1, 2, 1, 1],
            "num_heads": [1, 2, 1, 2],
            "window_size": 3,
            "drop_path_rate": 0.3,
        },
        [4, 8, 16, 32],
    ),
    "r18": (
        {
            "type": "ResNetV1c",
            "depth": 18,
            "stem_channels": 4,
            "base_channels": 4,
            "strides": (1, 2, 1, 1),
            "dilations": (1, 1, 2, 4),
            "contract_dilation": True,
            "norm_cfg": NORM,
        },
        [4, 8, 16, 32],
    ),
    "hrnet": (
        {
            "type": "HRNet",
            "norm_cfg": NORM,
            "extra": {
                "stage1": {"num_modules": 1, "block": "BOTTLENECK", "num_blocks": (1,), "num_channels": (4,)},
                **{
                    f"stage{n}": {
                        "num_modules": 1 + (n == 3),
                        "block": "BASIC",
                        "num_blocks": (1,) * n,
                        "num_channels": (4, 6, 8, 10)[:n],
                    }
                    for n in (2, 3, 4)
                },
            },
        },
        [4, 6, 8, 10],
    ),
}
# Head, backbone, palette, depth of the trunk, depth of X^-1.
LAYOUTS = {
    "gss-ff_swin_cityscapes": ("FF", "swin", "cityscapes", 2, 0),
    "gss-ff_r_cityscapes": ("FF", "r18", "cityscapes", 3, 0),
    "gss-ff_swin_ade20k": ("FF", "swin", "ade20k", 2, 0),
    "gss-ff_swin_mseg": ("FFSingleFusion", "swin", "mseg", 2, 0),
    "gss-ff_hrnet_mseg": ("FFSingleFusion", "hrnet", "mseg", 3, 0),
    "gss-ft-w_swin_cityscapes": ("FTW", "swin", "cityscapes", 2, 1),
    "gss-ft-w_r_cityscapes": ("FTW", "r18", "cityscapes", 3, 1),
    "gss-ft-w_swin_ade20k": ("FTW", "swin", "ade20k", 2, 2),
    "gss-ft-w_swin_mseg": ("FTW", "swin", "mseg", 2, 2),
    "gss-ft-w_hrnet_mseg": ("FTW", "hrnet", "mseg", 3, 2),
}


def official_config(layout: str) -> dict[str, Any]:
    """The official configuration of a small model of that layout."""
    kind, backbone, palette_name, depth, post_depth = LAYOUTS[layout]
    settings, channels = BACKBONES[backbone]
    palette = get_palette(palette_name)
    head: dict[str, Any] = {
        "type": f"GenerativeSegHead{kind}",
        "in_channels": [channels[level] for level in (1, 0, 2, 3)],
        "in_index": [1, 0, 2, 3],
        "channels": 3,
        "num_classes": palette.num_classes,
        "palette": [*palette.colors, palette.ignore_color],
        "indice_seg_channel": 8,
        "indice_cls_channel": 5,
        "swin_num_head": 2,
        "swin_depth": depth,
        "swin_window_size": 3,
        "dropout_ratio": 0.1,
        "norm_cfg": NORM,
        "loss_decode": [
            {"type": CE, "loss_name": "loss_ce", "loss_weight": 0.8},
            {"type": CE, "loss_name": "loss_ce_pixel", "loss_weight": 0.2},
        ],
        "d_vae": {
            "enc": {"n_hid": 4, "n_blk_per_group": 1, "vocab_size": 7},
            "dec": {"n_hid": 4, "n_init": 6, "n_blk_per_group": 1, "vocab_size": 7},
        },
    }
    if post_depth:
        head |= {"post_seg_channel": 4, "post_swin_num_head": 2, "post_swin_depth": post_depth}
        head |= {"post_swin_window_size": 3, "loss_decode": {"type": CE, "loss_weight": 1.0}}
    return {"type": "EncoderDecoder", "backbone": settings, "decode_head": head}


def small_model(layout: str, seed: int = 0) -> GSS:
    """Our model of that layout, every weight and statistic random, so that no two are alike."""
    model = GSS(**gss_arguments(official_config(layout)))
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5 if "var" in name else
                        torch.randn(value.shape, generator=generator) / 2)  # fmt: skip
    return model.eval()


def official_weights(model: GSS) -> dict[str, Tensor]:
    """All that the official checkpoint of this model holds, in its layout."""
    state = model.state_dict()
    weights = {name: value.clone() for name, value in to_official(state, official_names(state)).items()}
    for name in list(weights):
        if name.endswith(".relative_position_bias_table"):
            window = (int(weights[name].shape[0] ** 0.5) + 1) // 2
            weights[name.replace("_bias_table", "_index")] = relative_position_index(window)
    return weights


def save_checkpoint(path: Path, weights: dict[str, Tensor], *, zipped: bool = True) -> Path:
    """A file as the official training writes it, which leaves numbers of numpy beside the weights."""
    meta = {
        "epoch": 1,
        "iter": 80000,
        "config": "model = dict(type='EncoderDecoder')",
        "CLASSES": ("road", "sidewalk"),
        "PALETTE": np.arange(6).reshape(2, 3),
        "hook_msgs": {"best_score": np.float64(0.78), "last": np.int64(3), "done": np.bool_(True)},
    }
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": np.float32(0.5)}]}
    content = {"meta": meta, "state_dict": OrderedDict(weights), "optimizer": optimizer}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path
