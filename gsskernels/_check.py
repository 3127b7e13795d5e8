"""Argument checks of the public functions. They read shapes, dtypes and devices, never tensor values."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gsskernels import _dispatch

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def tensor(name: str, value: object, dtypes: tuple[torch.dtype, ...]) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.dtype not in dtypes:
        raise TypeError(f"{name} must have dtype {_names(dtypes)}, got {_names((value.dtype,))}")


def same_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    if value.device != other.device:
        raise ValueError(f"{name} must be on the device of {other_name} ({other.device}), got {value.device}")


def image(name: str, value: Tensor) -> None:
    tensor(name, value, (torch.uint8, *FLOATS))
    if value.dim() < 3 or value.shape[-3] != 3:
        raise ValueError(f"{name} must have shape (*, 3, H, W), got {tuple(value.shape)}")


def labels(name: str, value: Tensor, num_classes: int | None = None) -> None:
    tensor(name, value, INTEGERS)
    if num_classes is not None and num_classes - 1 > torch.iinfo(value.dtype).max:
        held = torch.iinfo(value.dtype).max
        raise ValueError(
            f"{name} has dtype {_names((value.dtype,))}, which holds class ids up to {held}, but there are "
            f"{num_classes} classes"
        )


def label_map(name: str, value: Tensor, num_classes: int | None = None) -> None:
    labels(name, value, num_classes)
    if value.dim() < 2:
        raise ValueError(f"{name} must have shape (*, H, W), got {tuple(value.shape)}")


def palette(value: Tensor) -> int:
    """Checks a palette (K, 3) and returns K."""
    tensor("palette", value, (*INTEGERS, *FLOATS))
    if value.dim() != 2 or value.shape[1] != 3:
        raise ValueError(f"palette must have shape (K, 3), got {tuple(value.shape)}")
    if value.shape[0] == 0:
        raise ValueError("palette must have at least one colour, got K = 0")
    return value.shape[0]


def matrix(name: str, value: Tensor, features: int) -> None:
    """Checks a codebook or weight (V, D) against the feature count of x."""
    tensor(name, value, FLOATS)
    if value.dim() != 2:
        raise ValueError(f"{name} must have shape (V, D), got {tuple(value.shape)}")
    if value.shape[0] == 0:
        raise ValueError(f"{name} must have at least one row, got V = 0")
    if value.shape[1] != features:
        raise ValueError(f"{name} must have {features} columns, the size of x along dim, got {tuple(value.shape)}")


def positive(name: str, value: int) -> None:
    integer(name, value)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def integer(name: str, value: int) -> None:
    if not isinstance(value, (int, torch.SymInt)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")


def size(value: Sequence[int]) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"size must be a pair (height, width), got {value!r}")
    height, width = value
    integer("size", height)
    integer("size", width)
    if height < 1 or width < 1:
        raise ValueError(f"size must be positive, got {(height, width)}")
    return height, width


def resizable(name: str, value: Tensor) -> None:
    if value.shape[-2] == 0 or value.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one row and one column to be resized, got {tuple(value.shape)}")


def choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def feature_dim(value: Tensor, dim: int) -> int:
    """Checks x and dim and returns dim counted from the front."""
    tensor("x", value, FLOATS)
    integer("dim", dim)
    if value.dim() == 0 or not -value.dim() <= dim < value.dim():
        raise ValueError(f"dim must name a dimension of x, which has shape {tuple(value.shape)}, got {dim}")
    return dim % value.dim()


def backend(name: str | None) -> None:
    if name is not None:
        _dispatch.check_name(name)


def constant(value: Tensor) -> Tensor:
    """Detaches a tensor, for operations whose floating results have no gradient."""
    return value.detach() if value.requires_grad else value


def _names(dtypes: tuple[torch.dtype, ...]) -> str:
    return ", ".join(str(d).removeprefix("torch.") for d in dtypes)
