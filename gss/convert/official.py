"""Whole official checkpoints as GSS models, and the merge of a GSS-FF checkpoint with the X^-1 of a GSS-FT-W one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gss.config import Recipe
from gss.convert import dalle
from gss.convert.names import DALLE, HEAD, IN_INDEX, from_official, official_names, to_official
from gss.convert.recipes import choose_recipe
from gss.convert.state_dict import first, problems, state_dict_of
from gss.convert.swin import check_position_indices
from gss.model.gss import GSS
from gss.model.loading import build_gss
from gss.model.tokenizers.dalle import DalleTokenizer
from gss.palette import Palette, get_palette

_INVERSE = tuple(f"{HEAD}{part}." for part in ("projection", "post_transformer_block", "post_swin_ln", "cls_segmap"))
_PIXEL = tuple(f"{HEAD}{part}." for part in ("convs_pixel", "fusion_conv_pixel", "conv_seg_pixel"))
_CLASSIFIERS = (f"{HEAD}conv_seg_pixel.weight", f"{HEAD}cls_segmap.conv.weight")
_INDEX = ".relative_position_index"
_COUNTER = ".num_batches_tracked"


def official_state(content: Any) -> dict[str, Tensor]:
    """The state dict in the result of `read_checkpoint`: its `state_dict` where it has one, else the whole.

    Raises ValueError for anything but a mapping of printable names to tensors with some below `decode_head.`.
    """
    state = state_dict_of(content)
    if not any(name.startswith(HEAD) for name in state):
        raise ValueError(f"state_dict: expected names that start with {HEAD}, got {', '.join([*state][:3]) or 'none'}")
    return state


def left_out(state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Reason -> names of the weights that a conversion does not take over."""
    learned = any(name.startswith(_INVERSE) for name in state)
    reasons = {
        "follow from the windows": [name for name in state if name.endswith(_INDEX)],
        "serve the training of GSS-FF only": [name for name in state if learned and name.startswith(_PIXEL)],
    }
    return {reason: names for reason, names in reasons.items() if names}


def convert_official(
    state: Mapping[str, Tensor],
    recipe: Recipe | None = None,
    palette: Palette | None = None,
    in_index: Sequence[int] = IN_INDEX,
) -> GSS:
    """The GSS model with official weights, in evaluation mode. Shares no memory with `state`.

    Args:
        state: official names -> tensors, of GSS-FF, GSS-FT-W, or a merge of both.
        recipe: describes the model; None chooses among the ten official recipes, see `choose_recipe`.
        palette: None for the recipe's.
        in_index: the level of the backbone that each convolution of the head reads.

    Raises:
        ValueError: weights that are missing, unexpected, of another shape or no floating numbers, the first of each in
            one message; relative positions in another order; no recipe fits. Nothing is allocated before.
    """
    if not any(name.startswith(DALLE) for name in state):
        raise ValueError(f"{DALLE}*: the checkpoint has no dVAE; give its published files")
    if other_classes := _class_problems(state):
        raise ValueError(other_classes[0])
    dropped = {name for names in left_out(state).values() for name in names}
    given = {name: value for name, value in state.items() if name not in dropped}
    recipe = recipe or choose_recipe(given)
    palette = palette or get_palette(recipe.palette)
    # Built without memory first, since a damaged file can claim any size.
    with torch.device("meta"):
        plan = build_gss(recipe, palette)
    names = official_names(plan.state_dict(), in_index)
    # Shapes bound the size of the indices that positions are compared with.
    wanted = {name: value.shape for name, value in to_official(plan.state_dict(), names, in_index).items()}
    counters = {name for name in wanted if name.endswith(_COUNTER)}
    if found := problems(given, wanted, counters) or _position_problems(state):
        raise ValueError(f"the checkpoint does not fit the recipe {recipe.name}: {'; '.join(found)}")
    on_meta = any(value.is_meta for value in given.values())
    model = plan if on_meta else build_gss(recipe, palette)
    model.load_state_dict(model.state_dict() | from_official(given, names, in_index))
    return model.eval()


def merge_official(ff: Mapping[str, Tensor], ftw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`ff` with the X^-1 of `ftw`, as the official merge gives (docs/official.md): batch norm statistics stay those of
    GSS-FF. X^-1 only sees maskiges, so the two may have different backbones.

    Raises:
        ValueError: `ff` has an X^-1 of its own, `ftw` has none, or their classes or dVAEs differ.
    """
    inverse = {name: value for name, value in ftw.items() if name.startswith(_INVERSE)}
    dvae = {name: value for name, value in ftw.items() if name.startswith(DALLE) and name not in ff}
    if not inverse:
        raise ValueError(f"ftw: expected a checkpoint of GSS-FT-W, got one without {', '.join(_INVERSE)}")
    if own := [name for name in ff if name.startswith(_INVERSE)]:
        raise ValueError(f"ff: expected a checkpoint of GSS-FF, got one that has an X^-1: {own[0]}")
    if other_classes := _class_problems({**ff, **inverse}):
        raise ValueError(f"ftw: {other_classes[0]}")
    for name in (name for name in ff if name.startswith(DALLE) and name in ftw):
        if not torch.equal(ff[name], ftw[name]):
            raise ValueError(f"ftw: its dVAE differs from that of the GSS-FF checkpoint in {name}")
    return {**ff, **dvae, **inverse}


def with_dalle(state: Mapping[str, Tensor], tokenizer: DalleTokenizer) -> dict[str, Tensor]:
    """`state` with the dVAE's weights, where it has none.

    Raises ValueError where it has some that differ from the tokenizer's, as the dVAE is never trained here.
    """
    weights = {DALLE + dalle.official_name(name): value for name, value in tokenizer.state_dict().items()}
    own = [name for name in state if name.startswith(DALLE)]
    if not own:
        return {**state, **weights}
    for name in sorted({*own, *weights}):
        if name not in state or name not in weights or not torch.equal(state[name].float(), weights[name]):
            raise ValueError(f"dalle: its weights differ from those in the checkpoint, first in {name}")
    return dict(state)


def _position_problems(state: Mapping[str, Tensor]) -> list[str]:
    wrong = check_position_indices(state)
    return [f"{len(wrong)} with another order of relative positions: {first(wrong)}"] if wrong else []


def _class_problems(state: Mapping[str, Tensor]) -> list[str]:
    """The auxiliary head and X^-1 have the same classes; only X^-1 is converted where both are there."""
    counts = {name: len(state[name]) for name in _CLASSIFIERS if name in state and state[name].ndim}
    return [f"different numbers of classes: {counts}"] if len(set(counts.values())) > 1 else []
