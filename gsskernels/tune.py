"""``python -m gsskernels.tune``: times configurations of the table-driven kernels on this GPU and writes its table.

    python -m gsskernels.tune                             # every kernel, every candidate: minutes
    python -m gsskernels.tune --quick --kernels sample    # one step away from the table there is
    python -m gsskernels.tune --out DIR                   # elsewhere than gsskernels/triton/tables

Each row of a table stands for a problem (`PROBLEMS`). A candidate is a table that differs from the current one in that
row; the backend's function runs with it, on cold caches, and has to give the current table's answer. Candidates that
a plan shrinks to the same launch are timed once. Compiling, the longest part, happens in several processes first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import product, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gsskernels import _dispatch
from gsskernels.reference.cross_entropy import CrossEntropyOptions

if TYPE_CHECKING:
    from gsskernels.triton.plan import Architecture

Use = dict[str, Any]
Table = dict[str, Any]  # "made", and for each kernel its rows

ROWS, CODES, FEATURES = 73728, 8192, 2048
STEPS = {
    "block_rows": (64, 128, 256),
    "block_codes": (64, 128, 256),
    "block_features": (32, 64, 128, 256),
    "num_warps": (4, 8),
    "num_stages": (2, 3, 4),
}
WORTH = 0.98  # a change has to take at most this share of the current time
FINAL = 3  # candidates that are timed again


@dataclass(frozen=True)
class Problem:
    """What a row of a table is timed on. On a meta device it only plans."""

    op: str
    item: int
    features: int
    rows: int = ROWS
    codes: int = CODES

    def call(self, device: torch.device) -> Callable[[], Tensor]:
        from gsskernels import triton as backend

        make = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
        dtype = torch.float32 if self.item == 4 else torch.float16 if device.type == "cpu" else torch.bfloat16
        options: dict[str, Any] = {"generator": make, "device": device}
        x = torch.randn(self.rows, self.features, **options).to(dtype)
        table = torch.randn(self.codes, self.features, **options).to(dtype)
        target = torch.randint(0, self.codes, (self.rows,), **options)
        options_of_loss = CrossEntropyOptions(dim=1, reduction="none")
        calls: dict[str, Callable[[], Tensor]] = {
            "nearest_code": lambda: backend.nearest_code(x, table, 1, None),
            "nearest_code as tf32": lambda: backend.nearest_code(x, table, 1, "tf32"),
            "linear_sample": lambda: backend.linear_sample(x, table, None, 1.0, 0, 1),
            "linear_cross_entropy": lambda: backend.linear_cross_entropy(x, table, target, None, options_of_loss)[0],
        }
        return calls[self.op]


def problem(kernel: str, when: dict[str, Any]) -> Problem:
    """The problem a row stands for: the largest its conditions allow, or large where they say nothing."""
    features = when.get("features_upto", 256 if "item" in when or "parts" in when else FEATURES)
    if kernel == "affine_argmax":
        item = when.get("item", 2)
        return Problem("nearest_code as tf32" if item == 4 else "nearest_code", item, features)
    if kernel == "certified":
        return Problem("nearest_code", 4, features)
    ops = {"sample": "linear_sample", "cross_entropy_fused": "linear_cross_entropy"}
    return Problem(ops[kernel], when.get("item", 2), 256)


def candidates(use: Use, features: int, quick: bool) -> list[Use]:
    """Configurations to time beside `use`: its neighbours, or every tile whose scores fit a thread's registers."""
    if quick:
        steps = ((name, value) for name, values in STEPS.items() for value in _beside(values, use[name]))
        found = [{**use, name: value} for name, value in steps]
    else:
        found = [dict(zip(STEPS, values, strict=True)) for values in product(*STEPS.values())]
    return [c for c in found if c != use and c["block_features"] <= max(32, features) and 16 <= _scores(c) <= 128]


def _beside(values: tuple[int, ...], value: int) -> tuple[int, ...]:
    lower, higher = [v for v in values if v < value], [v for v in values if v > value]
    return (*lower[-1:], *higher[:1])


def _scores(use: Use) -> int:
    """float32 scores a thread holds; it has 255 registers."""
    return use["block_rows"] * use["block_codes"] // (32 * use["num_warps"])


# --- Tables ---------------------------------------------------------------------------------------------------------


def replaced(table: Table, kernel: str, row: int, use: Use) -> Table:
    rows = [{**r, "use": use} if i == row else r for i, r in enumerate(table[kernel])]
    return {**table, kernel: rows}


@contextmanager
def in_use(table: Table, capability: int) -> Iterator[None]:
    """Plans follow `table` within the block."""
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
    """A row a line, as the checked-in tables have it; replaces the file in one step."""
    parts = [f' "made": {json.dumps(table["made"])}']
    for kernel, rows in table.items():
        if kernel != "made":
            parts.append(f' "{kernel}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    os.replace(temporary, path)


# --- Timing ---------------------------------------------------------------------------------------------------------


def launches(table: Table, architecture: Architecture, posed: Problem) -> str:
    """What would be started, with all meta-parameters: two tables that agree here are one candidate."""
    from gsskernels.triton.launch import record

    with in_use(table, architecture.capability), record(architecture) as found:
        posed.call(torch.device("meta"))()
    scalars = [{k: v for k, v in one.arguments.items() if not isinstance(v, Tensor)} for one in found]
    return repr([(one.kernel, one.grid, kept, one.options) for one, kept in zip(found, scalars, strict=True)])


def compile_candidate(table: Table, capability: int, posed: Problem, device: torch.device) -> str | None:
    """Runs a candidate once, in a process of its own, so that its kernels are in Triton's cache; or why it cannot."""
    try:
        with in_use(table, capability):
            posed.call(device)().cpu()
    except Exception as error:  # a candidate may ask for more than the GPU has: the reason is printed
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
    return None


def milliseconds(call: Callable[[], Tensor], rep: int = 30) -> float:
    """Median on cold caches: the benchmark of Triton overwrites a buffer larger than the L2 between calls."""
    from triton.testing import do_bench

    return float(do_bench(call, warmup=10, rep=rep, return_mode="median"))


def agree(got: Tensor, wanted: Tensor) -> bool:
    """Another order of a float32 sum may turn one near tie in some thousand rows."""
    if wanted.is_floating_point():
        return torch.allclose(got, wanted, rtol=1e-3, atol=1e-3)
    return float((got == wanted).double().mean()) >= 0.999


@dataclass(frozen=True)
class Tuner:
    """`map` runs compile_candidate over candidates, in processes of their own."""

    device: torch.device
    architecture: Architecture
    quick: bool
    map: Callable[..., Iterable[str | None]]

    def row(self, table: Table, kernel: str, row: int, posed: Problem) -> Table:
        """The table with the quickest configuration for this row."""
        capability, current = self.architecture.capability, table[kernel][row]["use"]
        tables = {launches(table, self.architecture, posed): table}
        for use in candidates(current, posed.features, self.quick):
            changed = replaced(table, kernel, row, use)
            tables.setdefault(launches(changed, self.architecture, posed), changed)
        others = repeat(capability), repeat(posed), repeat(self.device)
        reasons = list(self.map(compile_candidate, tables.values(), *others))
        for reason in sorted({reason for reason in reasons if reason}):
            print(f"  left out {reasons.count(reason)}: {reason}")
        runnable = [t for t, reason in zip(tables.values(), reasons, strict=True) if reason is None]
        if table not in runnable:
            raise RuntimeError(f"{kernel} does not run with the current table: {reasons[0]}")
        call = posed.call(self.device)
        with in_use(table, capability):
            wanted = call()
        times: list[tuple[float, int]] = []
        for i, candidate in enumerate(runnable):
            with in_use(candidate, capability):
                if agree(call(), wanted):
                    times.append((milliseconds(call), i))
                else:
                    print(f"  wrong answers: {candidate[kernel][row]['use']}")
        again: dict[int, list[float]] = {i: [] for i in {0, *(i for _, i in sorted(times)[:FINAL])}}
        for _ in range(3):  # in turn, so that a slow moment hits all of them
            for i, found in again.items():
                with in_use(runnable[i], capability):
                    found.append(milliseconds(call))
        medians = {i: sorted(found)[1] for i, found in again.items()}
        best = min(medians, key=lambda i: medians[i])
        kept = runnable[best] if medians[best] <= WORTH * medians[0] else table
        print(
            f"{kernel} {table[kernel][row]['when']}: {medians[0]:.4g} ms before, {medians[best]:.4g} ms at best of "
            f"{len(times)}: {kept[kernel][row]['use']}",
            flush=True,
        )
        return kept

    def crossover(self, table: Table) -> Table:
        """Up to how many features a loss without gradients is quicker fused than from stored logits."""
        upto = 0
        for features in (64, 128, 256, 512, 1024, 2048):
            call = Problem("linear_cross_entropy", 2, features).call(self.device)
            times = []
            for limit in (0, features):
                changed = replaced(table, "cross_entropy", 0, {"fuse_features_upto": limit})
                with in_use(changed, self.architecture.capability):
                    times.append(milliseconds(call))
            print(f"cross_entropy, {features} features: {times[0]:.4g} ms from stored logits, {times[1]:.4g} ms fused")
            if times[1] > times[0]:
                break
            upto = features
        return replaced(table, "cross_entropy", 0, {"fuse_features_upto": upto})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gsskernels.tune", description=__doc__.split("\n")[0])
    parser.add_argument("--kernels", default="", help="comma-separated names; all of the table by default")
    parser.add_argument("--quick", action="store_true", help="only configurations one step away from the current ones")
    parser.add_argument("--out", type=Path, default=None, help="folder of the table; by default where plans read it")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("gsskernels.tune measures on a GPU, and torch finds none", file=sys.stderr)
        return 2
    if (reason := _dispatch.why_missing("triton")) is not None:
        print(f"gsskernels.tune needs the triton backend: {reason}", file=sys.stderr)
        return 2
    from gsskernels.triton import plan
    from gsskernels.triton.launch import architecture

    device = torch.device("cuda", torch.cuda.current_device())
    here = architecture(device)
    table: Table = dict(plan._table(here.capability))
    names = [name for name in given.kernels.split(",") if name] or [name for name in table if name != "made"]
    if unknown := set(names) - set(table):
        parser.error(f"the table has no kernel {', '.join(sorted(unknown))}")
    table["made"] = made(torch.cuda.get_device_name(device))
    path = (given.out or plan.TABLES) / f"sm{here.capability}.json"
    start = time.time()
    processes = max(1, min(12, len(os.sched_getaffinity(0)) - 2))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        tuner = Tuner(device, here, given.quick, pool.map)
        for name in names:
            for row in range(len(table[name])):
                if name == "cross_entropy":
                    table = tuner.crossover(table)
                else:
                    table = tuner.row(table, name, row, problem(name, table[name][row]["when"]))
                write(table, path)  # a run that is cut off keeps what it found
    print(f"{path}: {time.time() - start:.0f} s")
    return 0


def made(gpu: str) -> dict[str, str]:
    """With what a table was measured."""
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


if __name__ == "__main__":
    sys.exit(main())
