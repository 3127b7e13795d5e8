"""Requirements on the machine code of every kernel, whatever the table says."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.static.table import Row, Rows

# Kernels whose products belong on matrix units, and those that must be exact: float64 matrix units or none.
MATRIX = ("argmax", "fast")
EXACT = ("exact",)
# Instructions by architecture. Tiles of fewer than 64 rows fill no warpgroup and fall back to warp-wide products.
UNITS = {80: ("HMMA",), 86: ("HMMA",), 90: ("HGMMA",), 100: ("UTCHMMA", "UTCQMMA")}
WARPGROUP_ROWS = 64
# Kernels that stream operands: where those are contiguous and aligned there must be loads of 128 bits, or bulk copies.
WIDE = ("argmax", "fast")


def faults(rows: Rows) -> list[str]:
    """A line for everything that is wrong."""
    found = []
    for name, row in rows.items():
        if "error" in row:
            found.append(f"{name}: does not compile: {row['error']}")
            continue
        found += [f"{name}: {fault}" for fault in (_resources(row), _units(row), _loads(row)) if fault]
    return found


def _resources(row: Row) -> str | None:
    if row["spills"] or row["stack"]:
        return f"{row['spills']} instructions spill registers, {row['stack']} bytes of stack"
    if row["shared"] > row["limit"]:
        return f"{row['shared']} bytes of shared memory, the architecture has {row['limit']}"
    return None


def _units(row: Row) -> str | None:
    if row["kernel"] in EXACT and set(row["tensor"]) - {"DMMA"}:
        return f"must be exact but uses {', '.join(row['tensor'])}"
    if row["kernel"] in MATRIX:
        allowed = UNITS[row["sm"]]
        if _constant(row, "BLOCK_ROWS") < WARPGROUP_ROWS:
            allowed += ("HMMA",)
        if not row["tensor"] or not set(row["tensor"]) <= set(allowed):
            return f"products by {', '.join(row['tensor']) or 'no matrix unit'}, expected {' or '.join(allowed)}"
    return None


def _loads(row: Row) -> str | None:
    words = dict(re.findall(r"(\w+_stride)[:=](\S+)", row["signature"]))
    strides = (words.get("row_stride", ""), words.get("feature_stride", ""))
    contiguous = "1" in strides and any(stride.endswith("|16") for stride in strides)
    if row["kernel"] in WIDE and contiguous and not row["accesses"].keys() & {"load 128", "load tma"}:
        return f"no wide load among {row['accesses']}"
    return None


def _constant(row: dict[str, Any], name: str) -> int:
    match = re.search(rf"\b{name}=(\d+)", row["config"])
    return int(match[1]) if match else 0
