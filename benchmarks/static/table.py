"""The regression table of the kernels' machine code: one row a variant, its file, and how two tables differ."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.static.compiler import Facts
from benchmarks.static.variants import Variant

FILE = Path(__file__).parent / "table.json"
Row = dict[str, Any]
Rows = dict[str, Row]

# The part of a row that the file keeps; the rest matters only to the checks of a fresh run.
STORED = ("config", "error", "registers", "shared", "spills", "stack", "instructions", "tensor", "loops", "per")

# More of these is worse. Everything else that changes is only reported as changed.
COSTS = ("registers", "shared", "spills", "stack", "instructions")


def rows(variants: Sequence[Variant], facts: Sequence[Facts]) -> Rows:
    """Rows by name: "call: kernel, sm_90". A kernel that one call starts in several forms is numbered."""
    found: Rows = {}
    for variant, known in zip(variants, facts, strict=True):
        name, number = row_name(variant), 2
        while name in found:
            name, number = row_name(variant, number), number + 1
        found[name] = {"kernel": variant.name, "sm": variant.architecture.capability, "config": configuration(variant)}
        found[name] |= {"signature": signature(variant), **known}
        if "error" not in known:
            found[name] |= {"limit": variant.architecture.shared_memory, "per": per_score(variant, known)}
    return dict(sorted(found.items()))


def per_score(variant: Variant, facts: Facts) -> dict[str, Any] | None:
    """Lane instructions per score in the loops of a matrix kernel, by class and summed as "all"; None without products.

    The innermost loop with products is counted for all blocks of features, the loop over codes around it once.
    """
    constants = variant.constants
    if not facts["tensor"] or "BLOCK_CODES" not in constants:
        return None
    loops = facts["loops"]
    numbers = [i for i, loop in enumerate(loops) if loop["counts"].get("tensor")]
    if not numbers:
        return None
    hot = max(numbers, key=lambda i: loops[i]["depth"])
    lanes = 32 * variant.options["num_warps"] / (constants["BLOCK_ROWS"] * constants["BLOCK_CODES"])
    resident = constants.get("RESIDENT", False)
    blocks = 1 if resident else math.ceil(variant.integers["features"] / constants["BLOCK_FEATURES"])
    costs = {kind: n * lanes * blocks for kind, n in loops[hot]["counts"].items()}
    # loops are listed by their headers, the outer before the inner
    around = next((i for i in reversed(range(hot)) if loops[i]["depth"] == loops[hot]["depth"] - 1), None)
    if not resident and around is not None:
        for kind, n in loops[around]["counts"].items():
            costs[kind] = costs.get(kind, 0.0) + n * lanes
    return {"unit": "score", "all": round(sum(costs.values()), 2), **{k: round(n, 2) for k, n in costs.items()}}


def stored(found: Rows) -> Rows:
    """Rows as the file has them."""
    return {name: {key: row[key] for key in STORED if row.get(key) is not None} for name, row in found.items()}


def row_name(variant: Variant, number: int = 1) -> str:
    which = f" #{number}" if number > 1 else ""
    return f"{variant.call}: {variant.name}{which}, sm_{variant.architecture.capability}"


def configuration(variant: Variant) -> str:
    """Meta-parameters and compiler options, readable."""
    chosen = {name: value for name, value in variant.constants.items() if name.isupper()}
    given = {**chosen, **variant.options}
    return " ".join(f"{name}={value}" for name, value in given.items())


def signature(variant: Variant) -> str:
    """Types of the arguments; a star behind one that is known to be a multiple of 16, constants by value."""
    shown = []
    for name, kind in variant.signature.items():
        if kind != "constexpr":
            shown.append(f"{name}:{kind}{'|16' if name in variant.aligned else ''}")
        elif not name.isupper():
            shown.append(f"{name}={variant.constants[name]}")
    return " ".join(shown)


def load(file: Path = FILE) -> dict[str, Any]:
    """{"triton": version, "rows": {name: row}}. Raises FileNotFoundError without a table."""
    return json.loads(file.read_text())


def save(table: dict[str, Any], file: Path = FILE) -> None:
    """One line a row, so that a diff shows which kernels changed."""
    parts = []
    for key, value in table.items():
        if isinstance(value, dict):
            lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    temporary.replace(file)


@dataclass(frozen=True)
class Change:
    row: str
    what: str
    before: Any
    after: Any

    @property
    def worse(self) -> bool:
        if self.after is None or self.what == "error":
            return self.after is not None
        if self.what in COSTS or self.what.startswith(("loop", "per")):
            return self.before is None or self.after > self.before
        return False

    def __str__(self) -> str:
        mark = "WORSE " if self.worse else "      "
        return f"{mark}{self.row}: {self.what} {_show(self.before)} -> {_show(self.after)}"


def compare(before: Rows, after: Rows, partial: bool = False) -> list[Change]:
    """The differences, the worse ones first. `partial` says that rows missing from `after` were not compiled."""
    changes = []
    before, after = stored(before), stored(after)
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        if new is None:
            if not partial:
                changes.append(Change(name, "row", "there", None))
        elif old is None:
            changes.append(Change(name, "row", None, "there"))
        else:
            changes += [Change(name, *found) for found in _differences(_flat(old), _flat(new))]
    return sorted(changes, key=lambda c: (not c.worse, c.row, c.what))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    for what in sorted(set(old) | set(new)):
        if old.get(what) != new.get(what):
            yield what, old.get(what), new.get(what)


def _flat(row: Row) -> dict[str, Any]:
    """One level of names: loops as "loop 0 select", so that a difference names the instructions."""
    flat = {k: v for k, v in row.items() if k not in ("loops", "per")}
    for number, loop in enumerate(row.get("loops", ())):
        flat[f"loop {number} (depth {loop['depth']})"] = sum(loop["counts"].values())
        flat |= {f"loop {number} {kind}": n for kind, n in loop["counts"].items()}
    if row.get("per"):
        flat[f"per {row['per']['unit']}"] = row["per"]["all"]
    return flat


def _show(value: Any) -> str:
    return "-" if value is None else str(value)
