"""Small models in the layouts of the ten official configurations, and checkpoints as the official code writes them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.config import DalleConfig, Recipe
from gss.config.loading import load_recipe, recipe_to_yaml
from gss.convert.names import official_names, to_official
from gss.model.gss import GSS
from gss.model.loading import build_gss
from gss.model.swin import relative_position_index
from gss.palette import get_palette

BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "swin": ("swin-l", {"embed_dim": 4, "depths": [1, 2, 1, 1], "num_heads": [1, 2, 1, 2], "window_size": 3}),
    "r18": ("r101", {"depth": 18, "stem_channels": 4, "base_channels": 4}),
    "hrnet": (
        "hrnet-w48",
        {
            "stages": [
                {
                    "modules": 1 + (n == 3),
                    "blocks": [1] * n,
                    "channels": [4, 6, 8, 10][:n],
                    "block": "basic" if n > 1 else "bottleneck",
                }
                for n in (1, 2, 3, 4)
            ]
        },
    ),
}
PRIOR = {
    "level_channels": 3,
    "trunk_channels": 8,
    "swin_channels": 8,
    "head_channels": 5,
    "swin_heads": 2,
    "window": 3,
}
DVAE = DalleConfig(codes=7, encoder_width=4, decoder_width=4, code_dim=6, encoder_blocks=1, decoder_blocks=1)
# Head of the official code, backbone, palette, depth of the trunk, depth of X^-1.
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


def official_recipe(layout: str) -> str:
    """The name of the shipped recipe of that layout."""
    _, backbone, palette, _, post_depth = LAYOUTS[layout]
    return f"official-{palette}-{'ft-w' if post_depth else 'ff'}-{BACKBONES[backbone][0]}"


def small_recipe(layout: str) -> Recipe:
    """The shipped recipe of that layout, made small."""
    _, backbone, _, depth, post_depth = LAYOUTS[layout]
    recipe = load_recipe(official_recipe(layout))
    inverse = replace(recipe.inverse, channels=4, heads=2, depth=post_depth, window=3)
    return replace(
        recipe,
        name=f"small {recipe.name}",
        backbone=recipe.backbone | BACKBONES[backbone][1],
        tokenizer=DVAE,
        prior=replace(recipe.prior, **PRIOR, swin_depth=depth),
        inverse=inverse if post_depth else recipe.inverse,
    )


def recipe_file(layout: str, folder: Path) -> str:
    """A file with the small recipe, for --recipe."""
    path = folder / "small.yaml"
    path.write_text(recipe_to_yaml(small_recipe(layout)))
    return str(path)


def small_model(layout: str, seed: int = 0) -> GSS:
    """Our model of that layout, every weight and statistic random, so that no two are alike."""
    recipe = small_recipe(layout)
    model = build_gss(recipe, get_palette(recipe.palette))
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
