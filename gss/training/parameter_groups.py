"""Groups of parameters with and without weight decay."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from gss.convert.names import official_names

# Lookup tables: nothing is multiplied by them, so shrinking them toward zero is no regularisation.
TABLE_NAMES = ("relative_position", "absolute_pos_embed", "position_embedding", "codebook", "color_logits")
# Parts of the official names of parameters without decay. They miss batch norms (bn), the layer norms swin_ln and
# post_swin_ln, and all other biases, see docs/official.md.
OFFICIAL_NAMES = ("norm", "relative_position_bias_table", "absolute_pos_embed")
NORM_TYPES = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def is_decayed(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    """Whether weight decay applies to `parameter`, called `name` (dotted) and held by the module `owner`."""
    if parameter.ndim <= 1 or isinstance(owner, NORM_TYPES):
        return False
    leaf = name.rsplit(".", 1)[-1]
    return leaf != "bias" and not any(table in name for table in TABLE_NAMES)


def is_decayed_officially(name: str) -> bool:
    """Whether the official recipes decay the parameter `name` (its name in a model, or in the `model` of a stage).

    Raises ValueError for a parameter that the official system does not have.
    """
    name = name.removeprefix("model.")
    # The norm that transformers' Swin has but never uses keeps its own name.
    official = official_names([name]).get(name, name)
    return not any(part in official for part in OFFICIAL_NAMES)


def parameter_groups(
    module: nn.Module, weight_decay: float, rule: Literal["shape", "official"] = "shape"
) -> list[dict[str, Any]]:
    """Two AdamW groups over the trainable parameters of `module`: with weight decay, and without.

    Parameters with `requires_grad=False` are left out; shared ones appear once.

    >>> [group["names"] for group in parameter_groups(nn.Linear(2, 2), 0.01)]
    [['weight'], ['bias']]

    Args:
        module: a `gss.GSS`, or for the rule "official" also a training stage that holds one as `model`.
        rule: "shape" leaves out parameters of one dimension or none, biases, all parameters of normalisation layers,
            position tables and codebooks. "official" leaves out parameters whose official name contains one of
            `OFFICIAL_NAMES`, as the official recipes do.

    Returns:
        At most two dicts with `params`, `weight_decay` and `names`, in the order of `module.named_parameters()`.

    Raises:
        ValueError: if nothing is trainable, or with the rule "official" for a parameter that has no official name.
    """
    trainable = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise ValueError(f"module: {type(module).__name__} has no parameter with requires_grad=True, nothing to train")
    if rule == "official":
        choice = {name: is_decayed_officially(name) for name in trainable}
    else:
        owners = dict(module.named_modules())
        choice = {name: is_decayed(name, p, owners[name.rpartition(".")[0]]) for name, p in trainable.items()}
    groups = []
    for decayed, decay in ((True, weight_decay), (False, 0.0)):
        names = [name for name in trainable if choice[name] == decayed]
        if names:
            groups.append({"params": [trainable[name] for name in names], "weight_decay": decay, "names": names})
    return groups
