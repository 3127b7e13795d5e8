from __future__ import annotations

import pytest
import torch
from torch import nn

from gss.training.parameter_groups import parameter_groups
from gss.training.stages import InverseTraining
from tests.gss.convert.official_models import small_model


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.conv = nn.Conv2d(3, 4, 1)
        self.batch_norm = nn.BatchNorm2d(4)
        self.wide_norm = nn.LayerNorm((2, 4))
        self.attention = nn.Module()
        self.attention.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.attention.query = nn.Linear(4, 4)
        self.quantizer = nn.Module()
        self.quantizer.codebook = nn.Parameter(torch.zeros(8, 4))
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1, 4, 4))
        self.layer_scale = nn.Parameter(torch.ones(4))
        self.table_bias = nn.Module()
        self.table_bias.bias = nn.Parameter(torch.zeros(2, 2))
        self.tied = self.conv


def test_groups() -> None:
    block = Block()
    decayed, plain = parameter_groups(block, 0.01)
    assert decayed["names"] == ["conv.weight", "attention.query.weight"]
    assert decayed["weight_decay"] == 0.01
    assert plain["weight_decay"] == 0.0
    assert set(plain["names"]) == {
        "absolute_pos_embed",
        "layer_scale",
        "conv.bias",
        "batch_norm.weight",
        "batch_norm.bias",
        "wide_norm.weight",
        "wide_norm.bias",
        "attention.relative_position_bias_table",
        "attention.query.bias",
        "quantizer.codebook",
        "table_bias.bias",
    }
    assert decayed["params"] == [block.conv.weight, block.attention.query.weight]


def test_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="module: Linear has no parameter with requires_grad=True"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.01)


def test_only_one_kind() -> None:
    (group,) = parameter_groups(nn.Linear(2, 2, bias=False), 0.1)
    assert group["names"] == ["weight"]


def test_the_official_rule_goes_by_official_names() -> None:
    """Theirs are swin_ln and bn for norms that a rule looking for "norm" does not find, and no bias is exempt."""
    model = small_model("gss-ft-w_swin_cityscapes")
    decayed, plain = parameter_groups(InverseTraining(model, torch.ones(19)), 0.01, rule="official")
    assert decayed["weight_decay"] == 0.01 and plain["weight_decay"] == 0.0
    block = "model.inverse.blocks.0"
    assert plain["names"] == [
        f"{block}.norm1.weight",
        f"{block}.norm1.bias",
        f"{block}.attention.relative_position_bias_table",
        f"{block}.norm2.weight",
        f"{block}.norm2.bias",
    ]
    assert {"model.inverse.projection.1.weight", "model.inverse.norm.bias", f"{block}.ffn.0.bias"} < {*decayed["names"]}
    everything = parameter_groups(model.requires_grad_(True), 0.01, rule="official")
    names = {name: group["weight_decay"] for group in everything for name in group["names"]}
    assert len(names) == len(dict(model.named_parameters()))
    assert names["encoder.backbone.hidden_states_norms.stage1.weight"] == 0.0
    assert names["trunk.norm.weight"] == names["trunk.aggregate.fusion.1.bias"] == 0.01


def test_the_official_rule_knows_official_parts_only() -> None:
    with pytest.raises(ValueError, match="weight: no part of the official system"):
        parameter_groups(nn.Linear(2, 2, bias=False), 0.1, rule="official")
