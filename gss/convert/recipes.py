"""The shipped recipe that describes an official checkpoint, by its number of classes, its backbone and its X^-1.

The official code published ten models, and `official-*` are their recipes. Checkpoints hold their configuration only as
Python text, which is not executed here.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gss.config import Recipe
from gss.config.loading import list_recipes, load_recipe
from gss.convert.names import BACKBONE, HEAD
from gss.palette import get_palette

# A weight that only this backbone has.
_BACKBONES = {
    "swin": f"{BACKBONE}patch_embed.projection.weight",
    "resnet_v1c": f"{BACKBONE}stem.0.weight",
    "hrnet_v2": f"{BACKBONE}transition1.0.0.weight",
}
_INVERSE = f"{HEAD}cls_segmap.conv.weight"
_PIXEL = f"{HEAD}conv_seg_pixel.weight"


def choose_recipe(state: Mapping[str, Tensor]) -> Recipe:
    """The shipped recipe of the official model that has these weights.

    Args:
        state: official names -> tensors, of GSS-FF, GSS-FT-W, or a merge of both. Only names and the number of classes
            are looked at: whether the shapes fit is checked by `convert_official`.

    Raises:
        ValueError: no recipe has this number of classes, backbone and X^-1; the message lists all recipes.
    """
    classifier = state.get(_INVERSE, state.get(_PIXEL))
    classes = len(classifier) if classifier is not None and classifier.ndim else 0
    backbone = next((kind for kind, name in _BACKBONES.items() if name in state), "unknown")
    wanted = (classes, backbone, _INVERSE in state)
    known = {}
    for name in list_recipes():
        if name.startswith("official-"):
            recipe = load_recipe(name)
            found = (get_palette(recipe.palette).num_classes, recipe.backbone["model_type"], _is_learned(recipe))
            if found == wanted:
                return recipe
            known[name] = found
    listed = "; ".join(f"{name} ({_words(*found)})" for name, found in known.items())
    raise ValueError(f"no official model has {_words(*wanted)}; give its recipe (--recipe); tried: {listed}")


def _is_learned(recipe: Recipe) -> bool:
    return recipe.inverse.type != "nearest"


def _words(classes: int, backbone: str, learned: bool) -> str:
    return f"{classes} classes, backbone {backbone}, X^-1 {'learned' if learned else 'nearest colour'}"
