"""How long a kernel should take: the time each resource of the GPU needs for it, from bytes, products and instructions.

    memory   bytes that must cross DRAM / copy bandwidth
    l2       bytes that blocks read again and again / L2 bandwidth
    tensor   FLOPs of the matrix instructions / matrix rate of the operands' type
    issue    warp instructions / one per cycle and scheduler
    alu, fma, shared, special, double
             lane instructions of a class / lanes per cycle of its pipe, see PER_CYCLE

Blocks are dealt to multiprocessors in whole numbers, so everything but memory is stretched by `quantisation`. If all
of it overlapped, a kernel would take its longest term; if nothing did, DRAM, L2 and matrix time one after the other and
then the slowest of the instruction terms (pipes work side by side even within one warp). The truth lies between.
Latency is not modelled: a kernel of few, long-waiting warps takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.static.stored import load


@dataclass(frozen=True)
class Machine:
    """Rates of a whole GPU, per second. The H200's are to be measured again in the run that quotes them."""

    copy: float = 4.3e12  # bytes
    l2: float = 7e12  # bytes; an estimate: 600 TFLOP/s of a 128 x 256 tiled product on an H100 take that much
    half: float = 790e12  # FLOPs of float16 and bfloat16 matrix instructions
    tf32: float = 395e12  # taken as half of that
    double: float = 67e12  # FLOPs of float64 matrix instructions, by the data sheet
    multiprocessors: int = 132
    schedulers: int = 4
    clock: float = 1.755e9
    launch: float = 1e-6  # between dependent kernels of a CUDA graph; a guess until measured


H200 = Machine()

# Lanes a cycle of one Hopper multiprocessor, by the pipe that serves a class of instructions (CUDA C++ Programming
# Guide, throughput of native arithmetic instructions). Comparisons and selections run at half the rate of FFMA.
PER_CYCLE = {"alu": 64, "fma": 128, "special": 16, "shared": 32, "double": 64}
PIPES = {
    "alu": {"select": 1.0, "integer": 1.0},
    "fma": {"float": 1.0, "multiply": 2.0},  # integer multiplication takes half of the pipe
    "special": {"special": 1.0},
    "shared": {"shared": 1.0, "global": 1.0},  # one unit for both; bank conflicts are not counted
    "double": {"double": 1.0},
}


@dataclass(frozen=True)
class Work:
    """What one launch does. `straight` are instructions of one warp by class, `loops` those that are repeated."""

    name: str
    blocks: int = 0
    warps: int = 0
    straight: Mapping[str, float] = field(default_factory=dict)
    loops: Sequence[tuple[float, Mapping[str, int]]] = ()  # (times a block goes round, instructions of one round)
    memory: float = 0.0  # bytes from and to DRAM at least
    l2: float = 0.0
    flops: float = 0.0
    rate: str = "half"  # which of the machine's matrix rates its products run at: half, tf32, double
    launches: int = 1  # how many of these, one after the other

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> Work:
        return Work(**{**data, "loops": [tuple(loop) for loop in data["loops"]]})

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    def lanes(self) -> dict[str, float]:
        """Lane instructions of the whole launch by class."""
        total: dict[str, float] = {}
        for times, counts in [(1.0, self.straight), *self.loops]:
            for kind, n in counts.items():
                total[kind] = total.get(kind, 0.0) + 32.0 * self.blocks * self.warps * times * n
        return total


def quantisation(blocks: int, multiprocessors: int) -> float:
    """How much longer the busiest multiprocessor works than if blocks could be divided evenly."""
    return math.ceil(blocks / multiprocessors) * multiprocessors / blocks if blocks else 1.0


def terms(work: Work, machine: Machine = H200) -> dict[str, float]:
    """Seconds that each resource needs for one launch."""
    stretch = quantisation(work.blocks, machine.multiprocessors)
    cycles = machine.multiprocessors * machine.clock / stretch  # of multiprocessors, a second
    lanes = work.lanes()
    found = {
        "memory": work.memory / machine.copy,
        "l2": work.l2 * stretch / machine.l2,
        "tensor": work.flops * stretch / getattr(machine, work.rate),
        "issue": sum(lanes.values()) / 32 / (machine.schedulers * cycles),
    }
    for pipe, kinds in PIPES.items():
        found[pipe] = sum(lanes.get(kind, 0.0) * cost for kind, cost in kinds.items()) / (PER_CYCLE[pipe] * cycles)
    return found


@dataclass(frozen=True)
class Prediction:
    """Seconds. `bound` names the longest term."""

    overlapped: float
    serial: float
    bound: str
    terms: dict[str, float]


def predict(work: Work, machine: Machine = H200) -> Prediction:
    """One launch, without the gap to the next."""
    found = terms(work, machine)
    bound = max(found, key=lambda name: found[name])
    moves = ("memory", "l2", "tensor")
    instructions = max(time for name, time in found.items() if name not in moves)
    return Prediction(found[bound], sum(found[m] for m in moves) + instructions, bound, found)


def predict_call(works: Sequence[Work], machine: Machine = H200) -> Prediction:
    """Launches one after the other, with the gaps between them. `bound` is that of what takes longest."""
    each = [(work.launches, predict(work, machine)) for work in works]
    gaps = machine.launch * sum(n for n, _ in each)
    longest = max(each, key=lambda found: found[0] * found[1].overlapped)[1]
    return Prediction(
        sum(n * p.overlapped for n, p in each) + gaps,
        sum(n * p.serial for n, p in each) + gaps,
        longest.bound,
        {name: sum(n * p.terms[name] for n, p in each) for name in longest.terms},
    )


def predictions(measured: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Every promise by its id: text, promised, predicted seconds if all overlaps (`overlapped_s`) and if nothing does
    (`serial_s`), what bounds it, the terms, and the kernels.

    measured: rates of the GPU at hand that replace those of an H200, by the names of Machine.
    """
    machine = replace(H200, **(measured or {}))
    found = {}
    for name, promise in load()["promises"].items():
        works = [Work.from_data(w) for w in promise["works"]]
        whole = predict_call(works, machine)
        found[name] = {
            "text": promise["text"],
            "promised_s": promise["promised_s"],
            "overlapped_s": whole.overlapped,
            "serial_s": whole.serial,
            "bound": whole.bound,
            "terms_s": whole.terms,
            "kernels": [
                {
                    "name": w.name,
                    "launches": w.launches,
                    **{k: v for k, v in asdict(predict(w, machine)).items() if k != "terms"},
                }
                for w in works
            ],
        }
    return found
