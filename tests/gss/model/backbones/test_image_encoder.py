import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoBackbone, AutoConfig, ResNetBackbone

from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.loading import build_gss
from gss.palette import Palette
from gss.training.run import load_pretrained
from tests.gss.tiny import tiny_recipe

TINY = tiny_recipe().backbone


def published(folder: Path, **changes: object) -> Path:
    """A checkpoint as a hub repository would hold it."""
    keys = {key: value for key, value in TINY.items() if key != "model_type"} | changes
    AutoBackbone.from_config(AutoConfig.for_model("resnet", **keys)).save_pretrained(folder)
    return folder


def test_feature_maps_are_finest_first_from_normalised_pixels() -> None:
    encoder = ImageEncoder(TINY).eval()
    image = torch.randint(256, (2, 3, 64, 96)).to(torch.uint8)
    features = encoder(image)
    assert [tuple(f.shape) for f in features] == [(2, 8, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 16, 2, 3)]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    expected = encoder.backbone((image / 255 - mean) / std).feature_maps
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in zip(features, expected, strict=True))


def test_a_recipe_starts_from_pretrained_weights(tmp_path: Path) -> None:
    folder = published(tmp_path)
    recipe = tiny_recipe(pretrained=str(folder))
    model = build_gss(recipe, Palette.named("scenes"))
    load_pretrained(model, recipe)
    source = ResNetBackbone.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, source[name]) for name, value in model.encoder.backbone.state_dict().items())


@pytest.mark.parametrize("change", [{"embedding_size": 16}, {"depths": [1, 1, 1, 1], "layer_type": "bottleneck"}])
def test_another_architecture_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="does not fit the backbone configuration"):
        ImageEncoder(TINY).load_pretrained(str(published(tmp_path, **change)))


def test_swin_drops_both_paths_of_a_block_in_training_and_none_in_evaluation() -> None:
    """At a rate of nearly 1 the last block passes its input on unchanged; transformers alone would keep its FFN."""
    torch.manual_seed(0)
    encoder = ImageEncoder(
        {
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
            "window_size": 4,
            "drop_path_rate": 0.999,
            "out_features": ["stage1", "stage2"],
        }
    )
    block = copy.deepcopy(encoder).backbone.swin.encoder.layers[1].blocks[0]
    x = torch.randn(2, 16, 16)
    block.train()
    assert torch.equal(block(x, (4, 4), always_partition=True)[0], x)
    assert not torch.allclose(block.eval()(x, (4, 4), always_partition=True)[0], x, atol=1e-3)
