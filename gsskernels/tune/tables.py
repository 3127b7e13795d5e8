"""Tables of configurations: changed in one row, used by the plans for a while, and written to a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from gsskernels.tune.problems import Use

Table = dict[str, Any]  # "made", and for each kernel its rows


def replaced(table: Table, kernel: str, row: int, use: Use) -> Table:
    rows = [{**r, "use": use} if i == row else r for i, r in enumerate(table[kernel])]
    return {**table, kernel: rows}


@contextmanager
def in_use(table: Table, capability: int) -> Iterator[None]:
    """Plans use `table` within the block."""
    from gsskernels.triton import plan

    before = plan.TABLES
    with tempfile.TemporaryDirectory(prefix="gsskernels-tune-") as folder:
        (Path(folder) / f"sm{capability}.json").write_text(json.dumps(table))
        plan.TABLES = Path(folder)
        plan._table.cache_clear()
        try:
            yield
        finally:
            plan.TABLES = before
            plan._table.cache_clear()


def write(table: Table, path: Path) -> None:
    """Writes one row per line, as in the checked-in tables. Replaces the file in one step."""
    parts = [f' "made": {json.dumps(table["made"])}']
    for kernel, rows in table.items():
        if kernel != "made":
            parts.append(f' "{kernel}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    os.replace(temporary, path)


def made(gpu: str) -> dict[str, str]:
    """The GPU and the software with which a table was measured."""
    import triton

    found = {
        "gpu": gpu,
        "triton": triton.__version__,
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "command": "python -m gsskernels.tune",
    }
    try:
        import pynvml

        pynvml.nvmlInit()
        found["driver"] = str(pynvml.nvmlSystemGetDriverVersion())
    except ImportError:
        found["driver"] = "unknown: nvidia-ml-py is not installed"
    except pynvml.NVMLError as error:
        found["driver"] = f"unknown: {error}"
    return found
