"""Two clocks for the calls of a case: wall time on the CPU, device time on a GPU. Both let providers take turns.

`prepare` turns the calls of one provider into a `Timed`; `measure` fills in the times of all providers of a case,
interleaved, so that a slow minute of the machine or a lowered clock of the GPU affects all of them.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

Run = Callable[[], Any]


@dataclass
class Timed:
    """One provider, ready to be timed: `launch` makes `calls` calls.

    Attributes:
        how: "clock" (wall time), "graph" (replays of a CUDA graph) or "stream" (launches one by one).
        keep: calls whose inputs a graph reads and whose results it writes; they have to live as long as the graph.
        note: the reason why the calls are not in a graph.
        times: seconds a call, one value a round.
    """

    launch: Run
    calls: int
    how: str = "clock"
    keep: list[Run] = field(default_factory=list)
    active: Callable[[], AbstractContextManager[None]] = nullcontext
    note: str = ""
    estimate: float = 0.0
    times: list[float] = field(default_factory=list)


class HostClock:
    """Wall time of calls on the CPU, which return when they are done.

    A turn repeats one provider back to back, because every library parks its own thread pool between calls and a pool
    that still spins would slow down its neighbour. A round of short calls lasts at least a millisecond.
    """

    ROUND = 1e-3  # seconds
    SLOW = 0.25  # seconds: longer calls get one round in each of the first two turns

    def copies(self, bytes_of_one: int) -> int:
        return 1

    def prepare(self, calls: list[Run]) -> Timed:
        estimate = min(self._seconds(calls[0], 1) for _ in range(2))
        return Timed(calls[0], max(1, math.ceil(self.ROUND / estimate)), keep=calls, estimate=estimate)

    def measure(self, ready: list[Timed], seconds: float, turns: int = 3) -> None:
        """About `seconds` a provider, in `turns` turns."""
        gc.collect()
        for turn in range(turns):
            for timed in ready:
                with timed.active():
                    self._turn(timed, turn, seconds / turns)

    def _turn(self, timed: Timed, turn: int, seconds: float) -> None:
        if timed.estimate > self.SLOW:
            if turn < 2:
                timed.times.append(self._seconds(timed.launch, 1))
            return
        timed.launch()  # wakes the thread pool
        rounds = min(100, max(1, int(seconds / (timed.estimate * timed.calls))))
        timed.times += [self._seconds(timed.launch, timed.calls) for _ in range(rounds)]

    def host_seconds(self, call: Run) -> float | None:
        return None  # the time of a call is the time of the host

    def _seconds(self, call: Run, calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - start) / calls


class DeviceClock:
    """Device time of calls on a GPU: CUDA events around the replay of a CUDA graph.

    The graph makes many calls, over copies of inputs and results that together exceed three times the L2, so that
    neither reads nor writes are served by the cache. Calls that wait for the device cannot be captured; they are
    launched one by one, and the row says so.

    `cuda` is torch.cuda; tests pass a stand-in.
    """

    REPLAY = 2e-3  # seconds that a replay should last, so that what surrounds it does not show
    MOST = 400  # calls in a replay
    SPIN = 200_000  # cycles that the device waits before a round, about 0.1 ms: the host is ahead, and clocks stay up
    ROUNDS = (3, 60)  # at least, at most

    def __init__(self, cuda: Any = torch.cuda) -> None:
        self.cuda = cuda

    def copies(self, bytes_of_one: int) -> int:
        l2 = self.cuda.get_device_properties(self.cuda.current_device()).L2_cache_size
        return min(64, max(2, math.ceil(3 * l2 / max(1, bytes_of_one))))

    def prepare(self, calls: list[Run]) -> Timed:
        """`calls` are the same call on several copies of its inputs."""
        for call in calls:
            call()
        note = self._waits(calls[0])
        if not note:
            try:
                return self._in_a_graph(calls)
            except RuntimeError as error:
                self.cuda.synchronize()
                note = f"not captured: {str(error).splitlines()[0]}"
        one_by_one = self._in_turn(calls, self._calls(self._estimate(calls[0]), len(calls)))
        return Timed(lambda: [call() for call in one_by_one], len(one_by_one), "stream", calls, note=note)

    def measure(self, ready: list[Timed], seconds: float) -> None:
        """About `seconds` for all providers together, one replay of each in turn."""
        gc.collect()
        least, most = self.ROUNDS
        end, rounds = time.perf_counter() + seconds, 0
        while rounds < least or (time.perf_counter() < end and rounds < most):
            marks = []
            for timed in ready:
                start, stop = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
                self.cuda._sleep(self.SPIN)
                start.record()
                timed.launch()
                stop.record()
                marks.append((timed, start, stop))
            self.cuda.synchronize()
            for timed, start, stop in marks:
                timed.times.append(start.elapsed_time(stop) / 1e3 / timed.calls)
            rounds += 1
        for timed in ready:  # the first round wakes the clocks up
            timed.times[:] = timed.times[1:]

    def host_seconds(self, call: Run, calls: int = 200) -> float | None:
        """Host time of a call on almost no data, which the device finishes sooner than the next one comes."""
        for _ in range(10):
            call()
        rounds = []
        for _ in range(5):
            self.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            rounds.append((time.perf_counter() - start) / calls)
        self.cuda.synchronize()
        return sorted(rounds)[2]

    def extra_peak(self, call: Run, size_of: Callable[[Any], int]) -> int:
        """The most bytes that the allocator holds during a call, less those held before it and those of the result."""
        gc.collect()
        self.cuda.synchronize()
        self.cuda.reset_peak_memory_stats()
        before = self.cuda.memory_allocated()
        result = call()
        self.cuda.synchronize()
        return max(0, self.cuda.max_memory_allocated() - before - size_of(result))

    def _in_a_graph(self, calls: list[Run]) -> Timed:
        # one round of the copies first: only a replay tells how long a call takes without the host
        graph = self._captured(calls, len(calls))
        launches = self._calls(self._estimate(graph.replay) / len(calls), len(calls))
        if launches != len(calls):
            graph = self._captured(self._in_turn(calls, launches), len(calls))
        return Timed(graph.replay, launches, "graph", calls)

    def _calls(self, seconds: float, copies: int) -> int:
        """Calls that fill a replay: whole rounds of the copies, unless one round lasts much longer than a replay."""
        wanted = max(1, min(self.MOST, math.ceil(self.REPLAY / seconds)))
        return max(1, math.ceil(wanted / copies)) * copies if seconds * copies < 10 * self.REPLAY else wanted

    def _in_turn(self, calls: list[Run], launches: int) -> list[Run]:
        return [calls[i % len(calls)] for i in range(launches)]

    def _waits(self, call: Run) -> str:
        """The reason why a call cannot be captured if it waits for the device, or an empty text."""
        self.cuda.set_sync_debug_mode("error")
        try:
            call()
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            return "it waits for the device"
        finally:
            self.cuda.set_sync_debug_mode("default")
            self.cuda.synchronize()
        return ""

    def _captured(self, calls: list[Run], kept: int) -> Any:
        side = self.cuda.Stream()
        side.wait_stream(self.cuda.current_stream())
        with self.cuda.stream(side):
            for call in calls[:kept]:  # libraries set up their workspace for a stream at its first use
                call()
        self.cuda.current_stream().wait_stream(side)
        self.cuda.synchronize()
        graph = self.cuda.CUDAGraph()
        results: list[Any] = []
        with self.cuda.graph(graph, stream=side):
            for call in calls:
                results.append(call())
                if len(results) > kept:
                    results.pop(0)
        return graph

    def _estimate(self, call: Run) -> float:
        times = []
        for _ in range(3):
            self.cuda.synchronize()
            start = time.perf_counter()
            call()
            self.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return max(1e-7, min(times))
