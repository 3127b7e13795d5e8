"""Official backbone configurations (mmseg's constructor arguments) to the `backbone` mapping of a recipe.

The three backbones of the GSS configurations: Swin, ResNet-v1c and HRNetV2 (paper section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What configures training but changes neither weights nor outputs. The stage decides whether GSS trains a backbone: the
# one that trains X^-1 leaves it as it is.
_TRAINING = {"type", "init_cfg", "pretrained", "with_cp", "frozen_stages", "norm_eval", "zero_init_residual"}
# Arguments that have one value in all GSS configurations, the only one built here.
_SWIN_FIXED = {
    "in_channels": 3,
    "strides": [4, 2, 2, 2],
    "out_indices": [0, 1, 2, 3],
    "patch_norm": True,
    "qk_scale": None,
    "drop_rate": 0,
    "attn_drop_rate": 0,
    "use_abs_pos_embed": False,
    "act_cfg": {"type": "GELU"},
}
_RESNET_FIXED = {
    "in_channels": 3,
    "num_stages": 4,
    "out_indices": [0, 1, 2, 3],
    "style": "pytorch",
    "deep_stem": True,
    "avg_down": False,
    "conv_cfg": None,
    "dcn": None,
    "plugins": None,
    "multi_grid": None,
}
_HRNET_FIXED = {"in_channels": 3, "conv_cfg": None, "multiscale_output": True}
# Arguments that carry over: official name -> our name and the official default.
_SWIN_KEYS = {
    "embed_dims": ("embed_dim", 96),
    "depths": ("depths", [2, 2, 6, 2]),
    "num_heads": ("num_heads", [3, 6, 12, 24]),
    "window_size": ("window_size", 7),
    "patch_size": ("patch_size", 4),
    "mlp_ratio": ("mlp_ratio", 4),
    "qkv_bias": ("qkv_bias", True),
    "drop_path_rate": ("drop_path_rate", 0.1),
}
_RESNET_KEYS = {
    "depth": ("depth", 101),
    "stem_channels": ("stem_channels", 64),
    "base_channels": ("base_channels", 64),
    "strides": ("strides", [1, 2, 2, 2]),
    "dilations": ("dilations", [1, 1, 1, 1]),
    "contract_dilation": ("contract_dilation", False),
}
_STAGE_KEYS = {"num_modules": "modules", "num_blocks": "blocks", "num_channels": "channels", "block": "block"}


def backbone_config(official: Mapping[str, Any]) -> dict[str, Any]:
    """The `backbone` mapping of a recipe, as `ImageEncoder` takes it, for an official one.

    Args:
        official: `type` ("SwinTransformer", "ResNetV1c" or "HRNet") and constructor arguments; what is left out has the
            official default. Keys about training (frozen_stages, init_cfg, ...) are left to the recipe.

    Raises:
        ValueError: another type, an unknown key, or a value that this project does not build.
    """
    kind = official.get("type")
    if kind == "SwinTransformer":
        keys = _take(official, _SWIN_KEYS, _SWIN_FIXED, {"norm_cfg", "pretrain_img_size"})
        _synchronised(official, {"LN"})
        return {"model_type": "swin", **keys, "out_features": [f"stage{n}" for n in range(1, 5)]}
    if kind == "ResNetV1c":
        if "depth" not in official:
            raise ValueError("backbone.depth: ResNetV1c needs it")
        keys = _take(official, _RESNET_KEYS, _RESNET_FIXED, {"norm_cfg"})
        return {"model_type": "resnet_v1c", **keys, "sync_batch_norm": _synchronised(official, {"BN", "SyncBN"})}
    if kind == "HRNet":
        _take(official, {}, _HRNET_FIXED, {"extra", "norm_cfg"})
        stages = [_hrnet_stage(official, f"stage{n}") for n in range(1, 5)]
        sync = _synchronised(official, {"BN", "SyncBN"})
        return {"model_type": "hrnet_v2", "stages": stages, "sync_batch_norm": sync}
    raise ValueError(f"backbone.type: expected SwinTransformer, ResNetV1c or HRNet, got {kind!r}")


def _take(
    official: Mapping[str, Any], keys: Mapping[str, tuple[str, Any]], fixed: Mapping[str, Any], others: set[str]
) -> dict[str, Any]:
    for key, value in official.items():
        if key in fixed:
            if _plain(value) != fixed[key]:
                raise ValueError(f"backbone.{key}: expected {fixed[key]!r}, the only value built here, got {value!r}")
        elif key not in keys and key not in others and key not in _TRAINING:
            raise ValueError(f"backbone.{key}: unknown key of {official['type']}")
    return {ours: _plain(official.get(theirs, default)) for theirs, (ours, default) in keys.items()}


def _hrnet_stage(official: Mapping[str, Any], name: str) -> dict[str, Any]:
    stage = official.get("extra", {}).get(name, {})
    if missing := [key for key in _STAGE_KEYS if key not in stage]:
        raise ValueError(f"backbone.extra.{name}: lacks {', '.join(missing)}")
    layout = {ours: _plain(stage[theirs]) for theirs, ours in _STAGE_KEYS.items()}
    return layout | {"block": str(layout["block"]).lower()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _synchronised(official: Mapping[str, Any], known: set[str]) -> bool:
    """Whether the norm is synchronised. Raises ValueError for a norm not among `known`."""
    norm = official.get("norm_cfg", {}).get("type", "LN" if "LN" in known else "BN")
    if norm not in known:
        raise ValueError(f"backbone.norm_cfg: expected {' or '.join(sorted(known))}, got {norm!r}")
    return norm == "SyncBN"
