"""Official GSS configurations (mmseg's `model` mapping) to the arguments of `gss.model.gss.GSS`.

    {"backbone": {"type": "SwinTransformer", ...}, "decode_head": {"type": "GenerativeSegHeadFF", ...}, "test_cfg": ...}

Three heads exist (spec paragraphs 2.3 to 2.6): FF, FF with a single fusion, and FT-W, whose X^-1 is a Swin network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from gss.config import DalleConfig, InferenceConfig, InverseConfig, PriorConfig
from gss.convert.backbone_config import backbone_config
from gss.convert.names import IN_INDEX
from gss.palette import Palette, palette_names

# Where the auxiliary pixel head of each kind of head reads; GSS-FT-W has none.
PIXEL_BRANCHES: dict[str, Literal["separate", "shared", "none"]] = {
    "GenerativeSegHeadFF": "separate",
    "GenerativeSegHeadFFSingleFusion": "shared",
    "GenerativeSegHeadFTW": "none",
}
_INVERSE_KEYS = {
    "post_seg_channel": "channels",
    "post_swin_depth": "depth",
    "post_swin_num_head": "heads",
    "post_swin_window_size": "window",
}
_REQUIRED = ("num_classes", "channels", "indice_seg_channel", "indice_cls_channel")
# Sizes that have a default in the official code.
_SWIN_KEYS = {"swin_depth": ("swin_depth", 2), "swin_num_head": ("swin_heads", 16), "swin_window_size": ("window", 7)}
# Arguments that have one value in all official configurations, the only one built here.
_FIXED = {
    "align_corners": False,
    "ignore_index": 255,
    "input_transform": "multiple_select",
    "conv_cfg": None,
    "act_cfg": {"type": "ReLU"},
    "sampler": None,
}
# What changes neither weights nor outputs: unused by the official head, checked elsewhere, or about how it is run.
_OTHERS = {
    "type", "in_channels", "in_index", "palette", "loss_decode", "dropout_ratio", "indice_channel_index", "norm_cfg",
    "pixel_channel_index", "img_size", "vocab", "norm_layer", "d_vae", "reconstruction_eval", "init_cfg",
}  # fmt: skip
_MODEL_KEYS = {"type", "pretrained", "backbone", "decode_head", "train_cfg", "test_cfg"}
_LOSS_FIXED = {
    "type": "CrossEntropyLoss",
    "use_sigmoid": False,
    "use_mask": False,
    "class_weight": None,
    "reduction": "mean",
    "avg_non_ignore": True,
}


def gss_arguments(official: Mapping[str, Any], palette: Palette | None = None) -> dict[str, Any]:
    """What `GSS(**arguments)` takes for an official model.

    Args:
        official: the mapping above. Keys that concern neither weights nor outputs are left out of account.
        palette: in place of the configuration's colours, which have no class names.

    Raises:
        ValueError: naming the key, for one that is missing or unknown, or a value that this project does not build.
    """
    for key in official:
        if key not in _MODEL_KEYS:
            raise ValueError(f"{key}: unknown key of an official model")
    for key in ("backbone", "decode_head"):
        if not isinstance(official.get(key), Mapping):
            raise ValueError(f"{key}: expected a mapping, got {type(official.get(key)).__name__}")
    head = official["decode_head"]
    _check_head(head)
    if palette is None:
        palette = official_palette(head.get("palette", ()), head["num_classes"])
    elif palette.num_classes != head["num_classes"]:
        raise ValueError(f"palette: expected {head['num_classes']} classes, got {palette.num_classes}")
    return {
        "palette": palette.to_dict(),
        "backbone": backbone_config(official["backbone"]),
        "tokenizer": asdict(_tokenizer(head)),
        "prior": asdict(_prior(head)),
        "inverse": asdict(_inverse(head)),
        "inference": asdict(inference_config(official)),
    }


def level_order(official: Mapping[str, Any]) -> tuple[int, ...]:
    """`in_index` of the head: which level of the backbone each of its convolutions reads.

    Raises ValueError unless it names every level once and both fusions work at the size of the finest.
    """
    head = official["decode_head"]
    order = tuple(head.get("in_index", IN_INDEX))
    if sorted(order) != list(range(len(order))):
        raise ValueError(f"decode_head.in_index: expected every level once, got {list(order)}")
    for key in ("indice_channel_index", "pixel_channel_index"):
        place = head.get(key, 1)
        if not 0 <= place < len(order) or order[place] != 0:
            raise ValueError(f"decode_head.{key}: expected {order.index(0)}, the finest level, got {place!r}")
    return order


def official_palette(rows: Sequence[Sequence[int]], num_classes: int) -> Palette:
    """The palette of a head, K colours and the one of ignored pixels; with class names where gss ships it.

    Raises ValueError for another number of rows, or colours that a palette cannot have.
    """
    colors = [tuple(int(channel) for channel in row) for row in rows]
    if len(colors) != num_classes + 1:
        raise ValueError(f"decode_head.palette: expected {num_classes + 1} colours, the last for ignored pixels, got "
                         f"{len(colors)}")  # fmt: skip
    for name in palette_names():
        shipped = Palette.named(name)
        if [*shipped.colors, shipped.ignore_color] == colors:
            return shipped
    try:
        return Palette.from_dict({"name": "official", "colors": colors[:-1], "ignore_color": colors[-1]})
    except ValueError as error:
        raise ValueError(f"decode_head.palette: {error}") from error


def inference_config(official: Mapping[str, Any]) -> InferenceConfig:
    """How the official system looks at a test image, from `test_cfg`.

    `img_scale` (width, height) and `keep_ratio`, which official configurations have in the test pipeline, are read
    there too: images are resized into that box. Raises ValueError for an unknown key or mode.
    """
    test = dict(official.get("test_cfg") or {})
    mode, scale, keep_ratio = test.pop("mode", "whole"), test.pop("img_scale", None), test.pop("keep_ratio", True)
    crop, stride = test.pop("crop_size", None), test.pop("stride", None)
    if test:
        raise ValueError(f"test_cfg.{min(test)}: unknown key")
    settings: dict[str, Any] = {"mode": mode, "keep_ratio": keep_ratio, "unaligned": "stretch"}
    if scale is not None:
        settings["box"] = (scale[1], scale[0])
    if mode == "slide":
        if crop is None or stride is None:
            raise ValueError("test_cfg: expected crop_size and stride for mode 'slide'")
        settings |= {"crop": tuple(crop), "stride": tuple(stride)}
    return InferenceConfig(**settings)


def _check_head(head: Mapping[str, Any]) -> None:
    kind = head.get("type")
    if kind not in PIXEL_BRANCHES:
        raise ValueError(f"decode_head.type: expected {', '.join(PIXEL_BRANCHES)}, got {kind!r}")
    required = [*_REQUIRED, *(_INVERSE_KEYS if PIXEL_BRANCHES[kind] == "none" else ())]
    for key in required:
        if type(head.get(key)) is not int:
            raise ValueError(f"decode_head.{key}: expected a whole number, got {head.get(key)!r}")
    known = {*required, *_SWIN_KEYS, *_FIXED, *_OTHERS}
    for key, value in head.items():
        if key not in known:
            raise ValueError(f"decode_head.{key}: unknown key of {kind}")
        if key in _FIXED and value != _FIXED[key]:
            raise ValueError(f"decode_head.{key}: expected {_FIXED[key]!r}, the only value built here, got {value!r}")
    norm = head.get("norm_cfg", {"type": "SyncBN"}).get("type")
    if norm not in ("BN", "SyncBN"):
        raise ValueError(f"decode_head.norm_cfg: expected BN or SyncBN, got {norm!r}")
    level_order({"decode_head": head})


def _prior(head: Mapping[str, Any]) -> PriorConfig:
    losses: dict[str, Any] = {}
    if head["type"] != "GenerativeSegHeadFTW":
        weights = dict(_losses(head))
        if sorted(name for name, _ in _losses(head)) != ["loss_ce", "loss_ce_pixel"]:
            raise ValueError(f"decode_head.loss_decode: expected loss_ce and loss_ce_pixel, got {sorted(weights)}")
        losses = {"token_loss": weights["loss_ce"], "pixel_loss": weights["loss_ce_pixel"]}
    return PriorConfig(
        level_channels=head["channels"],
        trunk_channels=head["indice_seg_channel"],
        swin_channels=head["indice_seg_channel"],
        head_channels=head["indice_cls_channel"],
        dropout=head.get("dropout_ratio", 0.1),
        pixel_branch=PIXEL_BRANCHES[head["type"]],
        **{ours: head.get(theirs, default) for theirs, (ours, default) in _SWIN_KEYS.items()},
        **losses,
    )


def _inverse(head: Mapping[str, Any]) -> InverseConfig:
    if head["type"] != "GenerativeSegHeadFTW":
        return InverseConfig()
    # Several losses of the same logits are one loss, of the sum of their weights.
    total = sum(weight for _, weight in _losses(head))
    if not math.isclose(total, 1):
        raise ValueError(f"decode_head.loss_decode: expected weights that add up to 1, got {total}")
    return InverseConfig(type="window", **{ours: head[theirs] for theirs, ours in _INVERSE_KEYS.items()})


def _losses(head: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Name and weight of every loss."""
    losses = head.get("loss_decode", {"type": "CrossEntropyLoss"})
    found = []
    for loss in [losses] if isinstance(losses, Mapping) else losses:
        for key, value in loss.items():
            if key in _LOSS_FIXED and value != _LOSS_FIXED[key]:
                raise ValueError(f"decode_head.loss_decode.{key}: expected {_LOSS_FIXED[key]!r}, got {value!r}")
            if key not in (*_LOSS_FIXED, "loss_weight", "loss_name"):
                raise ValueError(f"decode_head.loss_decode.{key}: unknown key")
        found.append((str(loss.get("loss_name", "loss_ce")), float(loss.get("loss_weight", 1))))
    return found


def _tokenizer(head: Mapping[str, Any]) -> DalleConfig:
    """The published dVAE, or one of the sizes `d_vae`, in the arguments of the dall_e package."""
    sizes = head.get("d_vae", {})
    encoder, decoder = sizes.get("enc", {}), sizes.get("dec", {})
    known = {
        "enc": {"n_hid", "n_blk_per_group", "vocab_size"},
        "dec": {"n_init", "n_hid", "n_blk_per_group", "vocab_size"},
    }
    for part, keys in sizes.items():
        for key in [part] if part not in known else [f"{part}.{key}" for key in keys if key not in known[part]]:
            raise ValueError(f"decode_head.d_vae.{key}: unknown key")
    published = DalleConfig()
    codes = {side.get("vocab_size", published.codes) for side in (encoder, decoder)}
    codes.add(head.get("vocab", min(codes)))
    if len(codes) > 1:
        raise ValueError(f"decode_head.vocab: expected one number of codes in all places, got {sorted(codes)}")
    return DalleConfig(
        codes=codes.pop(),
        encoder_width=encoder.get("n_hid", published.encoder_width),
        decoder_width=decoder.get("n_hid", published.decoder_width),
        code_dim=decoder.get("n_init", published.code_dim),
        encoder_blocks=encoder.get("n_blk_per_group", published.encoder_blocks),
        decoder_blocks=decoder.get("n_blk_per_group", published.decoder_blocks),
    )
