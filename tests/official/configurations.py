"""Official configurations, in mmseg's constructor arguments, as recipes: the recordings hold such arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gss.config import DalleConfig, InferenceConfig, InverseConfig, PriorConfig, Recipe
from gss.palette import Palette

# The recorded small heads differ from the official classes in the size of the dVAE alone.
BRANCHES = {
    "ff": "separate",
    "TinyFF": "separate",
    "GenerativeSegHeadFF": "separate",
    "ffsf": "shared",
    "TinyFFSF": "shared",
    "GenerativeSegHeadFFSingleFusion": "shared",
    "ftw": "none",
    "TinyFTW": "none",
    "GenerativeSegHeadFTW": "none",
}


def recipe_of(model: Mapping[str, Any]) -> Recipe:
    """The recipe of {"backbone": ..., "decode_head": ..., "test_cfg": ...}; its palette is that of `palette_of`."""
    head = model["decode_head"]
    return Recipe(
        name="recorded",
        backbone=backbone_of(model["backbone"]),
        tokenizer=_dvae(head.get("d_vae", {})),
        prior=_prior(head),
        inverse=_inverse(head),
        inference=inference_of(model),
    )


def palette_of(head: Mapping[str, Any]) -> Palette:
    """The colours of the classes, with that of ignored pixels last."""
    colors = [tuple(row) for row in head["palette"]]
    return Palette.from_dict({"name": "recorded", "colors": colors[:-1], "ignore_color": colors[-1]})


def loss_weights(head: Mapping[str, Any]) -> dict[str, float]:
    """Name -> weight of the losses; those of one name are added up, as they are of the same logits."""
    losses = head.get("loss_decode", {})
    found: dict[str, float] = {}
    for loss in [losses] if isinstance(losses, Mapping) else losses:
        name = loss.get("loss_name", "loss_ce")
        found[name] = found.get(name, 0.0) + loss.get("loss_weight", 1.0)
    return found


def inference_of(model: Mapping[str, Any]) -> InferenceConfig:
    """Windows and the box that photos are resized into, from `test_cfg`."""
    test = model.get("test_cfg") or {}
    settings: dict[str, Any] = {"mode": test.get("mode", "whole"), "keep_ratio": test.get("keep_ratio", True)}
    if "img_scale" in test:
        settings["box"] = (test["img_scale"][1], test["img_scale"][0])
    if settings["mode"] == "slide":
        settings |= {"crop": tuple(test["crop_size"]), "stride": tuple(test["stride"])}
    return InferenceConfig(**settings, unaligned="stretch")


def backbone_of(official: Mapping[str, Any]) -> dict[str, Any]:
    """The `backbone` mapping of a recipe; what is left out has the official default."""
    if official["type"] == "SwinTransformer":
        defaults = {
            "depths": [2, 2, 6, 2],
            "num_heads": [3, 6, 12, 24],
            "window_size": 7,
            "patch_size": 4,
            "mlp_ratio": 4,
            "qkv_bias": True,
            "drop_path_rate": 0.1,
        }
        sizes = {key: official.get(key, default) for key, default in defaults.items()}
        stages = [f"stage{n}" for n in range(1, len(sizes["depths"]) + 1)]
        return {"model_type": "swin", "embed_dim": official.get("embed_dims", 96), **sizes, "out_features": stages}
    sync = official.get("norm_cfg", {}).get("type") == "SyncBN"
    if official["type"] == "ResNetV1c":
        defaults = {
            "depth": None,
            "stem_channels": 64,
            "base_channels": 64,
            "strides": [1, 2, 2, 2],
            "dilations": [1, 1, 1, 1],
            "contract_dilation": False,
        }
        sizes = {key: official.get(key, default) for key, default in defaults.items()}
        return {"model_type": "resnet_v1c", **sizes, "sync_batch_norm": sync}
    stages = [
        {
            "modules": stage["num_modules"],
            "blocks": list(stage["num_blocks"]),
            "channels": list(stage["num_channels"]),
            "block": stage["block"].lower(),
        }
        for stage in (official["extra"][f"stage{n}"] for n in range(1, 5))
    ]
    return {"model_type": "hrnet_v2", "stages": stages, "sync_batch_norm": sync}


def _prior(head: Mapping[str, Any]) -> PriorConfig:
    weights = loss_weights(head)
    return PriorConfig(
        level_channels=head["channels"],
        trunk_channels=head["indice_seg_channel"],
        swin_channels=head["indice_seg_channel"],
        head_channels=head["indice_cls_channel"],
        swin_depth=head.get("swin_depth", 2),
        swin_heads=head.get("swin_num_head", 16),
        window=head.get("swin_window_size", 7),
        dropout=head.get("dropout_ratio", 0.1),
        token_loss=weights.get("loss_ce", 1.0),
        pixel_loss=weights.get("loss_ce_pixel", 0.0),
        pixel_branch=BRANCHES[head["type"]],  # type: ignore[arg-type]
    )


def _inverse(head: Mapping[str, Any]) -> InverseConfig:
    if BRANCHES[head["type"]] != "none":
        return InverseConfig()
    return InverseConfig(
        type="window",
        channels=head["post_seg_channel"],
        depth=head["post_swin_depth"],
        heads=head["post_swin_num_head"],
        window=head["post_swin_window_size"],
    )


def _dvae(sizes: Mapping[str, Any]) -> DalleConfig:
    encoder, decoder, published = sizes.get("enc", {}), sizes.get("dec", {}), DalleConfig()
    return DalleConfig(
        codes=encoder.get("vocab_size", published.codes),
        encoder_width=encoder.get("n_hid", published.encoder_width),
        decoder_width=decoder.get("n_hid", published.decoder_width),
        code_dim=decoder.get("n_init", published.code_dim),
        encoder_blocks=encoder.get("n_blk_per_group", published.encoder_blocks),
        decoder_blocks=decoder.get("n_blk_per_group", published.decoder_blocks),
    )
