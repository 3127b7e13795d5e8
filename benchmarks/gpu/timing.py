"""How long calls take on the device: cold inputs, graphs of many launches, variants in turn, medians.

A call is prepared for several copies of its inputs, together more than three times the L2, and its results are kept as
long, so that neither reads nor writes meet a cache that holds them. Launches are captured in a CUDA graph, which takes
the host out of the measurement; what cannot be captured (it waits for the device) is launched one by one instead, and
the row says so. A replay is bracketed by events; all variants of a case take turns, replay by replay.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.gpu.place import Place

REPLAY = 2e-3  # seconds a replay should last: then what surrounds it does not show
MOST = 400  # launches a replay
SPIN = 200_000  # cycles the device waits before a replay: about 0.1 ms

Run = Callable[[], Any]


@dataclass
class Variant:
    """`replay` enqueues `launches` calls; `how` is "graph", "stream", or "clock" on a CPU.

    calls: what a graph was captured from. It reads the tensors they hold, so they have to live as long.
    """

    replay: Run
    launches: int
    how: str
    calls: list[Run] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # seconds a call, one a replay
    note: str = ""


def copies_needed(place: Place, bytes_of_one: int) -> int:
    """Copies that together exceed three times the L2; at least two."""
    if place.device.type != "cuda":
        return 2
    l2 = torch.cuda.get_device_properties(place.device).L2_cache_size
    return min(64, max(2, math.ceil(3 * l2 / max(1, bytes_of_one))))


def prepare(place: Place, calls: list[Run]) -> Variant:
    """A variant of one call over several copies of its inputs; every call is made at least once before."""
    for call in calls:
        call()
    if place.device.type != "cuda":
        return Variant(calls[0], 1, "clock")
    note = _waits(calls[0])
    if note is None:
        try:
            # One round of the copies first: only a replay tells how long a call takes without the host.
            graph = _captured(place, calls, len(calls))
            launches = _launches(_estimate(place, graph.replay) / len(calls), len(calls))
            if launches != len(calls):
                graph = _captured(place, _in_turn(calls, launches), len(calls))
            return Variant(graph.replay, launches, "graph", calls)
        except RuntimeError as error:
            torch.cuda.synchronize()
            note = f"not captured: {str(error).splitlines()[0]}"
    launches = _launches(_estimate(place, calls[0]), len(calls))
    one_by_one = _in_turn(calls, launches)
    return Variant(lambda: [call() for call in one_by_one], launches, "stream", calls, note=note)


def _launches(seconds: float, copies: int) -> int:
    """How many fill a replay: whole rounds of the copies, unless one round is much longer than a replay should be."""
    wanted = max(1, min(MOST, math.ceil(REPLAY / seconds)))
    return max(1, math.ceil(wanted / copies)) * copies if seconds * copies < 10 * REPLAY else wanted


def _in_turn(calls: list[Run], launches: int) -> list[Run]:
    return [calls[i % len(calls)] for i in range(launches)]


def _waits(call: Run) -> str | None:
    """Why the call cannot be captured, if it waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return "it waits for the device"
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
    return None


def _captured(place: Place, calls: list[Run], kept: int) -> torch.cuda.CUDAGraph:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls[:kept]:  # libraries set up their workspace for a stream at its first use
            call()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    results: list[Any] = []
    with torch.cuda.graph(graph, stream=side):
        for call in calls:
            results.append(call())
            if len(results) > kept:
                results.pop(0)
    return graph


def _estimate(place: Place, call: Run) -> float:
    times = []
    for _ in range(3):
        place.synchronize()
        start = time.perf_counter()
        call()
        place.synchronize()
        times.append(time.perf_counter() - start)
    return max(1e-7, min(times))


def measure(place: Place, variants: list[Variant], seconds: float, most: int = 60) -> None:
    """Rounds in which every variant replays once, until the time is used up; at least three."""
    gc.collect()
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or (time.perf_counter() < end and rounds < most):
        if place.device.type == "cuda":
            _round_of_events(variants)
        else:
            for variant in variants:
                start = time.perf_counter()
                variant.replay()
                variant.times.append((time.perf_counter() - start) / variant.launches)
        rounds += 1
    for variant in variants:  # the first round wakes the clocks up
        variant.times[:] = variant.times[1:]


def _round_of_events(variants: list[Variant]) -> None:
    marks = []
    for variant in variants:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(SPIN)  # the host is ahead when the measurement begins, and the clocks stay up
        start.record()
        variant.replay()
        end.record()
        marks.append((variant, start, end))
    torch.cuda.synchronize()
    for variant, start, end in marks:
        variant.times.append(start.elapsed_time(end) / 1e3 / variant.launches)


def alone(place: Place, call: Run, seconds: float = 0.3) -> float:
    """Median seconds of one call on data that is there."""
    variant = prepare(place, [call])
    measure(place, [variant], 0.0 if place.dry else seconds)
    return statistics.median(variant.times)


def host_seconds(place: Place, call: Run, calls: int = 200) -> float:
    """What a call costs the host: calls on next to no data, which the device finishes sooner than they come."""
    for _ in range(10):
        call()
    rounds = []
    for _ in range(5):
        place.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter() - start) / calls)
        place.synchronize()
    return statistics.median(rounds)


def extra_peak(place: Place, call: Run, size_of: Callable[[Any], int]) -> int | None:
    """Bytes the allocator held at most beyond what it held before, less the result's own."""
    if place.device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    torch.cuda.synchronize()
    return max(0, torch.cuda.max_memory_allocated() - before - size_of(result))


def kernels(place: Place, call: Run, repeats: int = 5) -> list[dict[str, Any]] | str:
    """What a call runs on the device: names, how often a call, microseconds each. Or why the profiler did not say."""
    if place.device.type != "cuda":
        return "there is no GPU"
    activities = [torch.profiler.ProfilerActivity.CUDA]
    try:
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(repeats):
                call()
            torch.cuda.synchronize()
        events = [e for e in profile.key_averages() if e.device_time_total > 0]
    except RuntimeError as error:
        return str(error).splitlines()[0]
    found = [
        {"name": e.key[:80], "count": e.count / repeats, "us": e.device_time_total / e.count}
        for e in sorted(events, key=lambda e: -e.device_time_total)
    ]
    return found[:12] or "the profiler saw no kernel"
