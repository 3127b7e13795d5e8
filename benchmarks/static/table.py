"""The regression table: what is known of every kernel's machine code, one row a variant, and how two tables differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.static.compiler import Facts
from benchmarks.static.variants import Variant
from benchmarks.static.work import per_unit

Row = dict[str, Any]
Rows = dict[str, Row]

# What the file keeps of a row; the rest follows from it or matters only to the checks of a fresh run.
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
            found[name] |= {"limit": variant.architecture.shared_memory, "per": per_unit(variant, known)}
    return dict(sorted(found.items()))


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
    """What differs, worse first. `partial` says that rows missing from `after` were not looked at."""
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
