"""Chooses tile sizes, warps and stages of a kernel: pure functions of shape, dtype and architecture.

Decisions are looked up in the tables beside this file (tables/sm<capability>.json, made by `python -m
gsskernels.tune`), never measured at the first call. A table is a list of rows per kernel, `{"when": {...}, "use":
{...}}`; the first row whose conditions hold is used. A condition NAME_upto holds for sizes up to its value; any other
condition holds for equal values. Where a configuration needs more shared memory than the architecture has, stages and
then tiles are reduced until it fits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Architecture:
    """capability: 10 * major + minor; shared_memory: bytes available to a block; multiprocessors: of the GPU."""

    capability: int
    shared_memory: int
    multiprocessors: int


SM_80 = Architecture(80, 166912, 108)  # A100
SM_86 = Architecture(86, 101376, 84)  # consumer Ampere; plans for Ada are the same: 99 KiB
SM_90 = Architecture(90, 232448, 132)  # H100, H200
SM_100 = Architecture(100, 232448, 148)  # B200


@dataclass(frozen=True)
class Config:
    """Meta-parameters of one launch. A kernel may use only some of them."""

    block_rows: int = 128
    block_codes: int = 128
    block_features: int = 64
    num_warps: int = 4
    num_stages: int = 3


class DoesNotFit(RuntimeError):
    """No configuration of a kernel fits the shared memory of this GPU."""


def lookup(kernel: str, architecture: Architecture, **sizes: Any) -> dict[str, Any]:
    """The configuration for `kernel`: from the first row of its table whose conditions hold."""
    rows = _table(architecture.capability)[kernel]
    for row in rows:
        if all(_holds(name, value, sizes) for name, value in row["when"].items()):
            return row["use"]
    raise LookupError(f"the decision table has no row of {kernel} for {sizes}")


def _holds(name: str, value: Any, sizes: dict[str, Any]) -> bool:
    if name.endswith("_upto"):
        return sizes[name.removesuffix("_upto")] <= value
    return sizes[name] == value


@cache
def _table(capability: int) -> dict[str, list[dict[str, Any]]]:
    """The table of this capability, or of the nearest older one; GPUs older than all tables get the first table."""
    made_for = sorted(int(path.stem.removeprefix("sm")) for path in TABLES.glob("sm*.json"))
    nearest = max((c for c in made_for if c <= capability), default=made_for[0])
    return json.loads((TABLES / f"sm{nearest}.json").read_text())


def fit(config: Config, needed: Any, architecture: Architecture) -> Config:
    """Reduces stages, then tiles of features, codes and rows, until `needed(config)` bytes fit."""
    while needed(config) > architecture.shared_memory:
        if config.num_stages > 2:
            config = replace(config, num_stages=config.num_stages - 1)
        elif config.block_features > 32:
            config = replace(config, block_features=config.block_features // 2)
        elif config.block_codes > 32:
            config = replace(config, block_codes=config.block_codes // 2)
        elif config.block_rows > 16:
            config = replace(config, block_rows=config.block_rows // 2)
        elif config.num_stages > 1:
            config = replace(config, num_stages=1)
        else:
            raise DoesNotFit(
                f"the smallest configuration needs {needed(config)} bytes of shared memory a block, this GPU has "
                f"{architecture.shared_memory}"
            )
    return config


# --- The affine argmax ----------------------------------------------------------------------------------------------

SMALL_WORK = 2**22  # with fewer multiply-adds one float64 pass is the fastest certified search
MOST_SPLITS = 32


def plan_argmax(
    rows: int, codes: int, features: int, dtype: torch.dtype, architecture: Architecture
) -> tuple[Config, int]:
    """Tiles and splits of one pass over `rows` x `codes` scores of operands of `dtype`."""
    item = dtype.itemsize
    found = lookup("affine_argmax", architecture, features=features, item=item, rows=rows)
    config = _clipped(Config(**found), rows, codes, features)
    config = fit(config, lambda c: _operand_bytes(c, features, item, item, 1), architecture)
    return config, splits_for(-(-rows // config.block_rows), codes, config.block_codes, architecture)


def plan_certified(
    rows: int, codes: int, features: int, parts: int, listed: bool, architecture: Architecture
) -> tuple[Config, int]:
    """Tiles and splits of a pass of the certified search: float32 rows, codes in `parts` float16 parts."""
    found = lookup("certified", architecture, features=features, parts=parts, rows=rows)
    config = _clipped(Config(**found), rows, codes, features)
    config = fit(config, lambda c: _operand_bytes(c, features, 2, 2, parts), architecture)
    # Only the device knows the number of listed rows: the codes are cut into many ranges, so that few rows occupy it.
    row_tiles = 1 if listed else -(-rows // config.block_rows)
    return config, splits_for(row_tiles, codes, config.block_codes, architecture)


def plan_sample(
    rows: int, codes: int, features: int, dtype: torch.dtype, architecture: Architecture
) -> tuple[Config, int]:
    """Tiles and splits of a draw."""
    item = dtype.itemsize
    config = _clipped(Config(**lookup("sample", architecture, item=item)), rows, codes, features)
    config = fit(config, lambda c: _operand_bytes(c, features, item, item, 1), architecture)
    return config, splits_for(-(-rows // config.block_rows), codes, config.block_codes, architecture)


def splits_for(row_tiles: int, codes: int, block_codes: int, architecture: Architecture) -> int:
    """The number of ranges into which the codes are cut.

    It is the number that leaves the fewest multiprocessors idle, and of nearly equal numbers the smallest.
    """
    code_tiles = -(-codes // block_codes)
    best, best_filled = 1, 0.0
    for splits in range(1, min(MOST_SPLITS, code_tiles) + 1):
        blocks = row_tiles * splits
        waves = -(-blocks // architecture.multiprocessors)
        even = code_tiles / (splits * -(-code_tiles // splits))  # ranges are whole tiles: the longest one counts
        filled = even * blocks / (waves * architecture.multiprocessors)
        if filled > best_filled + 0.03:
            best, best_filled = splits, filled
    return best


def resident_programs(architecture: Architecture, config: Config) -> int:
    """The number of programs of a grid if only the device knows the amount of work."""
    return architecture.multiprocessors * max(1, 16 // config.num_warps)


def _clipped(config: Config, rows: int, codes: int, features: int) -> Config:
    """Limits tiles to the size of the problem, but to at least 16 on each side, the minimum of matrix units."""
    return replace(
        config,
        block_rows=min(config.block_rows, _power_of_two(rows)),
        block_codes=min(config.block_codes, _power_of_two(codes)),
        block_features=min(config.block_features, _power_of_two(features)),
    )


def _power_of_two(n: int) -> int:
    return max(16, 1 << max(0, n - 1).bit_length())


def _operand_bytes(config: Config, features: int, x_item: int, code_item: int, parts: int) -> int:
    """Bytes of shared memory: codes in every stage; x once if it stays resident, else in every stage."""
    x = config.block_rows * config.block_features * x_item * parts
    codes = config.block_codes * config.block_features * code_item * parts
    stages = max(1, config.num_stages)
    return (x if features <= config.block_features else x * stages) + codes * stages + 4096


# --- Cross-entropy --------------------------------------------------------------------------------------------------

CHUNK_BYTES = 64 * 2**20  # of logits at a time


def chunk_rows(rows: int, codes: int, item: int) -> int:
    """Rows whose logits are held at a time: nearly equal chunks that fit, multiples of 128 if there are several."""
    most = max(1, CHUNK_BYTES // (codes * item))
    if rows <= most:
        return max(1, rows)
    even = -(-rows // -(-rows // most))
    return min(most, -(-even // 128) * 128)


def fuses_cross_entropy(features: int, architecture: Architecture) -> bool:
    """Whether a loss without gradients is faster from tiles of scores than from chunks of stored logits.

    Storing a score and reading it back takes the time of about 370 multiply-adds on an H200.
    """
    return features <= lookup("cross_entropy", architecture)["fuse_features_upto"]


def plan_cross_entropy(
    rows: int, codes: int, features: int, dtype: torch.dtype, architecture: Architecture
) -> tuple[Config, int]:
    """Tiles and splits of the fused log-sum-exp."""
    item = dtype.itemsize
    config = _clipped(Config(**lookup("cross_entropy_fused", architecture, item=item)), rows, codes, features)
    config = fit(config, lambda c: _operand_bytes(c, features, item, item, 1), architecture)
    return config, splits_for(-(-rows // config.block_rows), codes, config.block_codes, architecture)
