"""The recipe of an official checkpoint is found by its classes, backbone and X^-1."""

import pytest
import torch
from torch import Tensor

from gss.convert.official import convert_official
from gss.convert.recipes import choose_recipe
from tests.gss.convert.official_models import LAYOUTS, official_recipe, official_weights, small_model


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return official_weights(small_model("gss-ff_swin_cityscapes"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_recipe_is_found(layout: str) -> None:
    assert choose_recipe(official_weights(small_model(layout))).name == official_recipe(layout)


@pytest.mark.parametrize("shape", [(5, 5, 1, 1), (), (1 << 40, 5, 1, 1)])
def test_no_recipe_has_these_classes(shape: tuple[int, ...], weights: dict[str, Tensor]) -> None:
    changed = weights | {"decode_head.conv_seg_pixel.weight": torch.zeros(1).view(()).expand(shape)}
    with pytest.raises(ValueError) as caught:
        choose_recipe(changed)
    assert f"no official model has {[*shape, 0][0]} classes, backbone swin, X^-1 nearest colour" in str(caught.value)
    assert "official-mseg-ft-w-hrnet-w48 (194 classes, backbone hrnet_v2, X^-1 learned)" in str(caught.value)


def test_other_sizes_than_published_are_refused(weights: dict[str, Tensor]) -> None:
    """The message shows the first five names of each kind."""
    with pytest.raises(
        ValueError, match=r"does not fit the recipe official-cityscapes-ff-swin-l: 3\d\d missing: "
    ) as caught:
        convert_official(weights)
    assert "of another shape: decode_head.conv_seg.weight" in str(caught.value) or ", ...;" in str(caught.value)
    assert len(str(caught.value)) < 2000
