"""Seconds and peak memory of `gss convert` on synthetic full-size checkpoints of the official layouts.

    python -m benchmarks.model.convert FIXTURES [--only NAME ...]

FIXTURES is the folder of recordings whose 12_official_keys holds a JSON file a configuration, with the shape of every
weight. Each file is written with random numbers (up to 1.4 GB), converted, and removed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gss.model.swin import relative_position_index

COMMAND = "import sys; from gss.cli import main; sys.exit(main())"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    arguments = parser.parse_args()
    table = Table("configuration", "keys", "file, GB", "seconds", "run folder, GB", "peak memory, GB")
    for file in sorted((arguments.fixtures / "12_official_keys").glob("*.json")):
        if arguments.only and file.stem not in arguments.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(file.stem, *convert(json.loads(file.read_text())["shapes"], Path(folder)))
            print(f"{file.stem} converted", flush=True)
    Console(width=140).print(table)


def convert(shapes: dict[str, list[int]], folder: Path) -> list[str]:
    checkpoint, run = folder / "checkpoint.pth", folder / "run"
    state = {name: weight(name, shape) for name, shape in shapes.items()}
    torch.save({"meta": {"iter": 80000, "config": "synthetic"}, "state_dict": state, "optimizer": {}}, checkpoint)
    del state
    start = time.perf_counter()
    command = [sys.executable, "-c", COMMAND, "convert", str(checkpoint), "--out", str(run)]
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise RuntimeError(f"gss convert ended with status {os.waitstatus_to_exitcode(status)}")
    seconds, peak = time.perf_counter() - start, usage.ru_maxrss * 1024
    sizes = [path.stat().st_size / 1e9 for path in (checkpoint, run / "model.safetensors")]
    return [str(len(shapes)), f"{sizes[0]:.2f}", f"{seconds:.0f}", f"{sizes[1]:.2f}", f"{peak / 1e9:.1f}"]


def weight(name: str, shape: list[int]) -> Tensor:
    if name.endswith("relative_position_index"):
        return relative_position_index(round(shape[0] ** 0.5))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    return torch.rand(shape)


if __name__ == "__main__":
    main()
