"""Parameters with and without weight decay against those of the official optimiser (10_decay.json)."""

import re
from typing import Any

import pytest
import torch

from gss.convert.names import official_name
from gss.model.gss import GSS
from gss.model.loading import build_gss
from gss.palette import get_palette
from gss.training.parameter_groups import parameter_groups
from gss.training.stages import InverseTraining, PriorTraining
from tests.official.compare import assert_same
from tests.official.configurations import recipe_of
from tests.official.recordings import FOLDER, load_json

DECAY = 0.01
Names = dict[str, list[str]]


@pytest.fixture(scope="module")
def groups() -> dict[str, Names]:
    return load_json(FOLDER / "10_decay.json")["groups"]


def count(names: list[str], pattern: str) -> int:
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def small_model(names: list[str]) -> GSS:
    """A small model with as many stages and blocks as the recorded names, below backbone. and decode_head., have."""
    stages = count(names, r"backbone\.stages\.(\d+)\.") or 4
    backbone = {
        "type": "SwinTransformer",
        "embed_dims": 4,
        "depths": [max(count(names, rf"backbone\.stages\.{s}\.blocks\.(\d+)\."), 1) for s in range(stages)],
        "num_heads": [1] * stages,
        "window_size": 2,
    }
    palette = get_palette("cityscapes")
    learned = any(name.startswith("decode_head.cls_segmap.") for name in names)
    separate = any(name.startswith("decode_head.convs_pixel.") for name in names)
    kind = "FTW" if learned else "FF" if separate else "FFSingleFusion"
    blocks = count(names, r"decode_head\.d_vae\.encoder\.blocks\.group_1\.block_(\d+)\.")
    sizes = {"n_hid": 4, "n_blk_per_group": max(blocks, 1), "vocab_size": 8}
    head: dict[str, Any] = {
        "type": f"GenerativeSegHead{kind}",
        "channels": 4,
        "indice_seg_channel": 4,
        "indice_cls_channel": 4,
        "swin_depth": count(names, r"decode_head\.transformer_block\.blocks\.(\d+)\."),
        "swin_num_head": 1,
        "swin_window_size": 2,
        "d_vae": {"enc": sizes, "dec": {**sizes, "n_init": 4}},
    }
    if learned:
        head |= {"post_seg_channel": 4, "post_swin_num_head": 1, "post_swin_window_size": 2}
        head["post_swin_depth"] = count(names, r"decode_head\.post_transformer_block\.blocks\.(\d+)\.")
    return build_gss(recipe_of({"backbone": backbone, "decode_head": head}), palette)


def grouped(stage: torch.nn.Module) -> tuple[set[str], set[str]]:
    """Official names of a stage's trained parameters, without and with decay. The unused norm of Swin has none."""
    found: dict[float, set[str]] = {0.0: set(), DECAY: set()}
    for group in parameter_groups(stage, DECAY, rule="official"):
        for name in group["names"]:
            name = name.removeprefix("model.")
            if not name.startswith("encoder.backbone.swin.layernorm."):
                found[group["weight_decay"]].add(official_name(name))
    return found[0.0], found[DECAY]


def assert_groups(name: str, found: tuple[set[str], set[str]], plain: set[str], decayed: set[str]) -> None:
    assert len(plain) > 0 and len(decayed) > 0
    assert_same("10_decay", f"{name}, names", found[0], plain)
    assert_same("10_decay", f"{name}, names", found[1], decayed)


def test_prior(groups: dict[str, Names]) -> None:
    recorded = groups["swin+ff"]
    model = small_model(sum(recorded.values(), []))
    found = grouped(PriorTraining(model, torch.ones(model.palette.num_classes)))
    assert_groups("swin+ff", found, set(recorded["decay_0"]), set(recorded["decay_0_01"]))


def test_inverse(groups: dict[str, Names]) -> None:
    """The official optimiser has the trunk too, which gets no gradient and so stays as it is; ours leaves it out."""
    recorded = groups["swin_frozen4+ftw"]
    model = small_model(sum(recorded.values(), []))
    found = grouped(InverseTraining(model, torch.ones(model.palette.num_classes)))
    trained = re.compile(r"decode_head\.(projection|post_transformer_block|post_swin_ln|cls_segmap)\.")
    plain, decayed = ({n for n in recorded[kind] if trained.match(n)} for kind in ("decay_0", "decay_0_01"))
    assert_groups("swin_frozen4+ftw", found, plain, decayed)


@pytest.mark.parametrize("group", ["swin", "ff_head", "ftw_head"])
def test_parts(groups: dict[str, Names], group: str) -> None:
    prefix = "backbone." if group == "swin" else "decode_head."
    recorded = {kind: [prefix + name for name in names] for kind, names in groups[group].items()}
    model = small_model(sum(recorded.values(), []))
    model.requires_grad_(True)
    model.tokenizer.requires_grad_(False)
    plain, decayed = ({name for name in names if name.startswith(prefix)} for names in grouped(model))
    assert_groups(group, (plain, decayed), set(recorded["decay_0"]), set(recorded["decay_0_01"]))
