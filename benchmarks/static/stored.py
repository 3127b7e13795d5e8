"""The table as a file: {"triton": version, "rows": {name: row}, "promises": {id: promise}}."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "table.json"


def load(file: Path = FILE) -> dict[str, Any]:
    """{"triton": version, "rows": ..., "promises": ...}. Raises FileNotFoundError if there is no table yet."""
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
