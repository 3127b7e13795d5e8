from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gss.convert.backbones import load_official_backbone, load_pretrained, load_pretrained_file
from gss.convert.names import OUR_BACKBONE, official_names, sources
from gss.convert.swin import merging_order, official_merging_order
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.swin import relative_position_index

SWIN = {
    "model_type": "swin",
    "embed_dim": 4,
    "depths": [1, 2, 1, 1],
    "num_heads": [1, 2, 2, 2],
    "window_size": 3,
    "mlp_ratio": 2,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
RESNET = {"model_type": "resnet_v1c", "depth": 18, "stem_channels": 4, "base_channels": 2}


def swin(window: int = 3) -> nn.Module:
    torch.manual_seed(window)
    backbone = ImageEncoder(SWIN | {"window_size": window}).backbone
    for parameter in backbone.parameters():
        nn.init.normal_(parameter)
    return backbone.eval()


def official_swin(backbone: nn.Module, window: int = 3) -> dict[str, Tensor]:
    """The official tensors that `backbone` comes from: one query-key-value, patches in (c, row, column) order."""
    state = {OUR_BACKBONE + name: value for name, value in backbone.state_dict().items()}
    official = {}
    for name, ours in sources(official_names(state)).items():
        name, value = name.removeprefix("backbone."), torch.cat([state[key] for key in ours])
        value = official_merging_order(value) if ".downsample." in name else value
        official[name] = value
        if name.endswith("_table"):
            official[name.replace("_bias_table", "_index")] = relative_position_index(window)
    return official


def maps(backbone: nn.Module) -> list[Tensor]:
    with torch.no_grad():
        return list(backbone(torch.linspace(-1, 1, 3 * 20 * 28).view(1, 3, 20, 28)).feature_maps)


def same_maps(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(maps(one), maps(other), strict=True))


def test_merging_order() -> None:
    """2 channels, elements named channel, row, column: our order has the channel innermost and the row next."""
    names = torch.tensor([c * 100 + row * 10 + column for c in range(2) for row in range(2) for column in range(2)])
    assert merging_order(names).tolist() == [0, 100, 10, 110, 1, 101, 11, 111]


def test_swin_survives_the_round_trip() -> None:
    source, target = swin(), ImageEncoder(SWIN).backbone.eval()
    load_official_backbone(target, official_swin(source))
    assert same_maps(source, target)


def test_another_order_of_relative_positions_is_refused() -> None:
    official = official_swin(swin())
    name = "stages.1.blocks.1.attn.w_msa.relative_position_index"
    official[name] = official[name].T.contiguous()
    with pytest.raises(ValueError, match=f"another order of relative positions: {name}"):
        load_official_backbone(swin(), official)


def test_a_classifier_starts_a_backbone(tmp_path: Path) -> None:
    """An ImageNet file: a classifier with its norm and masks, no norms of the maps, another window."""
    source, target = swin(window=5), swin(window=3)
    norms = {key: value.clone() for key, value in target.state_dict().items() if "hidden_states_norms" in key}
    weights = {k: v for k, v in official_swin(source, window=5).items() if not k.startswith("norm")}
    weights |= {"norm.weight": torch.ones(32), "head.weight": torch.ones(10, 32)}
    weights["stages.1.blocks.1.attn_mask"] = torch.zeros(4, 25, 25)
    torch.save({"state_dict": weights, "meta": {"epoch": 300}}, tmp_path / "swin.pth")
    with pytest.raises(ValueError, match="do not fit SwinBackbone"):
        load_official_backbone(target, weights)
    load_pretrained_file(target, tmp_path / "swin.pth")
    got, wanted = target.state_dict(), source.state_dict()
    for key, value in got.items():
        if key in norms:
            assert torch.equal(value, norms[key])
        elif key.endswith("_table"):
            picture = wanted[key].T.view(1, -1, 9, 9)
            picture = nn.functional.interpolate(picture, size=(5, 5), mode="bicubic", align_corners=False)
            assert torch.equal(value, picture[0].flatten(1).T)
        elif not key.startswith("swin.layernorm."):
            assert torch.equal(value, wanted[key])


def test_a_recipe_starts_from_a_published_resnet(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = ImageEncoder(RESNET), ImageEncoder(RESNET)
    # older files have no counters
    weights = {k: v + 1 for k, v in source.backbone.state_dict().items() if "num_batches" not in k}
    torch.save(weights | {"fc.weight": torch.ones(10, 16)}, tmp_path / "resnet.pth")
    load_pretrained(target, str(tmp_path / "resnet.pth"))
    got = target.backbone.state_dict()
    assert all(torch.equal(got[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"stem.0.weight": 3}}, r"expected a state dict of tensors, got int for stem\.0\.weight"),
        ({}, r"missing: stem\.0\.weight, stem\.1\.weight, "),
        ([1, 2], "expected a state dict, a mapping of names to tensors, got list"),
        ({"model": "resnet"}, "expected a state dict of tensors, got str for model"),
    ],
)
def test_files_without_the_weights(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=message):
        load_pretrained(ImageEncoder(RESNET), str(tmp_path / "x.pth"))


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"state_dict": {"stem.0.weight": Hostile()}}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="not a readable torch checkpoint"):
        load_pretrained(ImageEncoder(RESNET), str(tmp_path / "x.pth"))
    assert not (tmp_path / "executed").exists()
