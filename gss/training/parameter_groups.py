"""Which parameters are decayed, and which are not."""

from __future__ import annotations

from typing import Any

from torch import nn

# Tables that are looked up, not multiplied: shrinking them toward zero has no meaning as regularisation.
TABLE_NAMES = ("relative_position", "absolute_pos_embed", "position_embedding", "codebook")
NORM_TYPES = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def is_decayed(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    """Whether weight decay applies to `parameter`, called `name` (dotted) and held by the module `owner`."""
    if parameter.ndim <= 1 or isinstance(owner, NORM_TYPES):
        return False
    leaf = name.rsplit(".", 1)[-1]
    return leaf != "bias" and not any(table in name for table in TABLE_NAMES)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two AdamW groups over the trainable parameters of `module`: decayed, and not decayed.

    Not decayed: parameters of one dimension or none, biases, every parameter of a normalisation layer, relative and
    absolute position tables, codebooks. Parameters with `requires_grad=False` are left out; shared ones appear once.

    Returns:
        At most two dicts with `params`, `weight_decay` and `names`, in the order of `module.named_parameters()`.

    Raises:
        ValueError: if nothing is trainable.
    """
    decayed: dict[str, nn.Parameter] = {}
    plain: dict[str, nn.Parameter] = {}
    owners = dict(module.named_modules())
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            owner = owners[name.rpartition(".")[0]]
            (decayed if is_decayed(name, parameter, owner) else plain)[name] = parameter
    if not decayed and not plain:
        raise ValueError(f"module: {type(module).__name__} has no parameter with requires_grad=True, nothing to train")
    groups = [(decayed, weight_decay), (plain, 0.0)]
    return [
        {"params": list(members.values()), "weight_decay": decay, "names": list(members)}
        for members, decay in groups
        if members
    ]
