"""docs/kernels/static.md: the table, readable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.kernels.report import markdown
from benchmarks.static.catalogue import catalogue
from benchmarks.static.compiler import ROOT
from benchmarks.static.sass import CLASSES

FILE = ROOT / "docs/kernels/static.md"

INTRODUCTION = """# GPU kernels, compiled without a GPU

    python -m benchmarks.static            # compiles everything and compares with the table (part of make check-triton)
    python -m benchmarks.static --write    # replaces the table and this page

The second command writes this page and `benchmarks/static/table.json`. It compiles every kernel, in every configuration
that is planned for the calls of `benchmarks/static/catalogue.py`, ahead of time for sm_80, sm_86, sm_90 and sm_100, and
reads the machine code: registers, spilled values, shared memory, tensor-core instructions, and the instructions of each
loop by the unit that executes them. A change that makes a loop longer fails the check and shows in the diff. Measured
times are in [performance](../performance.md).
"""

LEGEND = """`float`: floating-point arithmetic. `select`: comparisons, selections, minima and maxima. `multiply`:
integer multiplication, mostly of addresses. `integer`: other integer and bit operations, and moves. `special`: MUFU and
conversions. `global` and `shared`: memory accesses; shuffles count as shared. `uniform`: the scalar datapath. `other`:
branches and barriers. On Hopper `select` and `integer` share a pipe that serves 64 lanes a cycle; `float` has 128.
"""


def page(table: dict[str, Any]) -> str:
    rows = table["rows"]
    parts = [
        INTRODUCTION,
        f"\nTriton {table['triton']}; {len(rows)} kernels and configurations.\n",
        "\n## Lane instructions per score in the loop of the matrix kernels\n\n",
        LEGEND,
        "\n",
        markdown(_per_score(rows)),
        "\n## Usual configurations\n\n",
        "The calls that `make test` compiles; all others are in the table. A loop is given as its depth and the "
        "instructions that a warp executes in one round, without those of inner loops.\n\n",
        markdown(_usual(rows)),
    ]
    return "".join(parts)


def _per_score(rows: dict[str, Any]) -> list[list[str]]:
    kinds = [k for k in CLASSES if any(k in (r.get("per") or {}) for r in rows.values())]
    lines = [["kernel", "configuration", "all", *kinds]]
    for name, row in rows.items():
        if row.get("per") and not name.endswith("sm_86"):  # as sm_80
            lines.append([name, _short(row["config"]), *(_number(row["per"].get(k)) for k in ("all", *kinds))])
    return lines


def _usual(rows: dict[str, Any]) -> list[list[str]]:
    usual = {call.name for call in catalogue() if call.quick}
    lines = [["kernel", "configuration", "registers", "spills", "shared bytes", "instructions", "loops"]]
    for name, row in rows.items():
        if name.split(": ")[0] not in usual:
            continue
        if "error" in row:
            lines.append([name, _short(row["config"]), "does not compile", "", "", "", row["error"].splitlines()[0]])
            continue
        loops = ", ".join(f"{loop['depth']}: {sum(loop['counts'].values())}" for loop in row["loops"])
        numbers = (row["registers"], row["spills"], row["shared"], row["instructions"])
        lines.append([name, _short(row["config"]), *map(str, numbers), loops])
    return lines


def _short(config: str) -> str:
    """BLOCK_ROWS=128 as rows 128; switches that are off are left out."""
    words = []
    for part in config.split():
        name, value = part.split("=", 1)
        if value in ("False", "None"):
            continue
        name = name.removeprefix("BLOCK_").removeprefix("num_").lower()
        words.append(name if value == "True" else f"{name} {value}")
    return ", ".join(words)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def write(table: dict[str, Any], file: Path = FILE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page(table))
