"""Official configurations as arguments of our model: what carries over, and what is refused by name."""

from typing import Any

import pytest

from gss.convert.model_config import gss_arguments, inference_config, level_order, official_palette
from gss.palette import get_palette
from tests.gss.convert.official_models import CE, official_config

FF, FTW = "gss-ff_swin_cityscapes", "gss-ft-w_swin_mseg"


def changed(layout: str, **head: Any) -> dict[str, Any]:
    config = official_config(layout)
    return config | {"decode_head": config["decode_head"] | head}


def test_sizes_of_the_head() -> None:
    arguments = gss_arguments(changed(FF, dropout_ratio=0))
    prior = arguments["prior"]
    assert (prior["level_channels"], prior["trunk_channels"], prior["swin_channels"]) == (3, 8, 8)
    assert (prior["head_channels"], prior["swin_depth"], prior["swin_heads"], prior["window"]) == (5, 2, 2, 3)
    assert (prior["swin_stride"], prior["dropout"], prior["pixel_branch"]) == (1, 0, "separate")
    assert (prior["token_loss"], prior["pixel_loss"]) == (0.8, 0.2)
    assert arguments["inverse"]["type"] == "nearest"
    assert arguments["tokenizer"] == {
        "type": "dalle",
        "codes": 7,
        "encoder_width": 4,
        "decoder_width": 4,
        "code_dim": 6,
        "encoder_blocks": 1,
        "decoder_blocks": 1,
    }


def test_kinds_of_heads() -> None:
    shared, learned = (gss_arguments(official_config(layout)) for layout in ("gss-ff_hrnet_mseg", FTW))
    assert shared["prior"]["pixel_branch"] == "shared" and shared["inverse"]["type"] == "nearest"
    assert learned["prior"]["pixel_branch"] == "none"
    inverse = learned["inverse"]
    assert (inverse["type"], inverse["channels"], inverse["depth"], inverse["heads"]) == ("window", 4, 2, 2)


def test_the_published_dvae_where_no_other_is_named() -> None:
    config = official_config(FF)
    del config["decode_head"]["d_vae"]
    tokenizer = gss_arguments(config | {"decode_head": config["decode_head"] | {"vocab": 8192}})["tokenizer"]
    assert (tokenizer["codes"], tokenizer["encoder_width"], tokenizer["code_dim"]) == (8192, 256, 128)


def test_several_losses_of_the_same_logits_are_one() -> None:
    losses = [{"type": CE, "loss_weight": 0.8}, {"type": CE, "loss_weight": 0.2}]
    assert gss_arguments(changed(FTW, loss_decode=losses)) == gss_arguments(official_config(FTW))


def test_palettes() -> None:
    cityscapes = get_palette("cityscapes")
    rows = [*map(list, cityscapes.colors), list(cityscapes.ignore_color)]
    assert official_palette(rows, 19) == cityscapes
    rows[3][0] += 1
    own = official_palette(rows, 19)
    assert own.colors[3] == (103, 102, 156) and own.class_names[3] == "class 3" and own.ignore_color == (0, 0, 0)
    with pytest.raises(ValueError, match="decode_head.palette: expected 20 colours, .* got 19"):
        official_palette(rows[1:], 19)
    with pytest.raises(ValueError, match="decode_head.palette: colors: expected distinct values"):
        official_palette([rows[0], *rows[:18], rows[-1]], 19)
    with pytest.raises(ValueError, match="palette: expected 194 classes, got 19"):
        gss_arguments(official_config(FTW), cityscapes)


def test_test_settings() -> None:
    slide = {"mode": "slide", "crop_size": [48, 64], "stride": [32, 48], "img_scale": (2048, 512)}
    config = inference_config({"test_cfg": slide})
    assert (config.mode, config.crop, config.stride, config.box) == ("slide", (48, 64), (32, 48), (512, 2048))
    assert config.keep_ratio and config.unaligned == "stretch"
    assert inference_config({}).mode == "whole" and inference_config({}).box is None
    with pytest.raises(ValueError, match="test_cfg.crops: unknown key"):
        inference_config({"test_cfg": {"mode": "slide", "crops": 1}})
    with pytest.raises(ValueError, match="expected crop_size and stride"):
        inference_config({"test_cfg": {"mode": "slide"}})


@pytest.mark.parametrize(
    ("layout", "head", "message"),
    [
        (FF, {"type": "FCNHead"}, "decode_head.type: expected GenerativeSegHeadFF, .* got 'FCNHead'"),
        (FF, {"channels": None}, "decode_head.channels: expected a whole number, got None"),
        (FTW, {"post_swin_depth": "two"}, "decode_head.post_swin_depth: expected a whole number, got 'two'"),
        (FF, {"post_swin_depth": 1}, "decode_head.post_swin_depth: unknown key of GenerativeSegHeadFF"),
        (FF, {"align_corners": True}, "decode_head.align_corners: expected False"),
        (FF, {"norm_cfg": {"type": "GN"}}, "decode_head.norm_cfg: expected BN or SyncBN, got 'GN'"),
        (FF, {"in_index": [1, 1, 2, 3]}, "decode_head.in_index: expected every level once"),
        (FF, {"in_index": [0, 1, 2, 3]}, "decode_head.indice_channel_index: expected 0, the finest level, got 1"),
        (FF, {"pixel_channel_index": 2}, "decode_head.pixel_channel_index: expected 1, the finest level, got 2"),
        (FF, {"loss_decode": {"type": CE}}, r"expected loss_ce and loss_ce_pixel, got \['loss_ce'\]"),
        (FF, {"loss_decode": {"type": "DiceLoss"}}, "decode_head.loss_decode.type: expected 'CrossEntropyLoss'"),
        (FTW, {"loss_decode": {"type": CE, "class_weight": [1]}}, "loss_decode.class_weight: expected None"),
        (FTW, {"loss_decode": {"type": CE, "gamma": 2}}, "loss_decode.gamma: unknown key"),
        (FTW, {"loss_decode": {"type": CE, "loss_weight": 0.5}}, "expected weights that add up to 1, got 0.5"),
        (FF, {"vocab": 9}, r"decode_head.vocab: expected one number of codes in all places, got \[7, 9\]"),
        (FF, {"d_vae": {"enc": {"layers": 2}}}, "decode_head.d_vae.enc.layers: unknown key"),
        (FF, {"d_vae": {"middle": {}}}, "decode_head.d_vae.middle: unknown key"),
    ],
)
def test_what_is_refused(layout: str, head: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gss_arguments(changed(layout, **head))


def test_what_is_no_configuration() -> None:
    with pytest.raises(ValueError, match="auxiliary_head: unknown key"):
        gss_arguments(official_config(FF) | {"auxiliary_head": None})
    with pytest.raises(ValueError, match="backbone: expected a mapping, got NoneType"):
        gss_arguments({"decode_head": {}})
    with pytest.raises(ValueError, match="backbone.type: expected SwinTransformer"):
        gss_arguments(official_config(FF) | {"backbone": {"type": "MiT"}})


def test_order_of_levels() -> None:
    assert level_order(official_config(FF)) == (1, 0, 2, 3)
    assert level_order(changed(FF, in_index=[2, 0, 3, 1])) == (2, 0, 3, 1)
