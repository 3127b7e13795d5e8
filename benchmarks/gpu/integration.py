"""Inside PyTorch: opcheck, torch.compile, CUDA graphs, streams, devices, determinism, no waiting for the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu import judge
from benchmarks.gpu.catalogue import Call, Tensors, calls
from benchmarks.gpu.checks import Absent, Check
from benchmarks.gpu.operators import OPERATORS, arguments
from benchmarks.gpu.place import Place
from gsskernels import _ops


def checks(place: Place) -> Iterator[Check]:
    for call in calls(place):
        yield Check(call.name, "the same bits three times", partial(_deterministic, place, call))
        yield Check(call.name, "no synchronisation", partial(_no_synchronisation, place, call))
        yield Check(call.name, "CUDA graph, new inputs", partial(_graph, place, call))
        yield Check(call.name, "second stream", partial(_second_stream, place, call))
        yield Check(call.name, "second GPU", partial(_second_gpu, place, call))
        yield Check(call.name, "torch.compile, two sizes", partial(_compiled, place, call))
    for name in OPERATORS:
        for shape in range(1 if place.dry else 3):
            yield Check("opcheck", f"{name}, shape {shape}", partial(_opcheck, place, name, shape))


def _on_gpu(place: Place) -> None:
    if place.device.type != "cuda":
        raise Absent("a dry run has no GPU")


def _compare(call: Call, got: Any, wanted: Any, what: str) -> None:
    if call.exact:
        judge.same(got, wanted, what)
        return
    pairs = zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]
    for a, b in pairs:
        if b.is_floating_point():
            judge.close(a, b, 1e-3, 1e-3, what)
        else:
            judge.same(a, b, what)


def _deterministic(place: Place, call: Call) -> None:
    inputs = call.inputs(0)
    first = call.run(*inputs)
    for _ in range(2):
        judge.same(call.run(*inputs), first, "the result of another call")


def _no_synchronisation(place: Place, call: Call) -> None:
    _on_gpu(place)
    inputs = call.inputs(0)
    call.run(*inputs)  # compiling may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call.run(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _graph(place: Place, call: Call) -> None:
    """What is captured reads its inputs anew at every replay; two replays are the first and the second inputs'."""
    _on_gpu(place)
    static = tuple(t.clone() for t in call.inputs(0))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call.run(*static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = call.run(*static)
    for round_ in range(3):
        changed = _changed(call.inputs(0), round_)
        for target, source in zip(static, changed, strict=True):
            target.copy_(source)
        graph.replay()
        _compare(call, captured, call.run(*changed), f"replay {round_}")


def _changed(inputs: Tensors, by: int) -> Tensors:
    """Other values of the same kind: rows, pixels and codes in another order."""
    return tuple(t.roll(by, 0).roll(by, -1) if t.dim() != 2 or t.shape[1] != 3 else t.roll(by, 0) for t in inputs)


def _second_stream(place: Place, call: Call) -> None:
    """Work of a stream that is late: a kernel started elsewhere would read what is not there yet."""
    _on_gpu(place)
    inputs = call.inputs(0)
    wanted = call.run(*inputs)
    late = tuple(torch.zeros_like(t) for t in inputs)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)  # about 10 ms
        for target, source in zip(late, inputs, strict=True):
            target.copy_(source)
        got = call.run(*late)
    side.synchronize()
    _compare(call, got, wanted, "the result on a second stream")


def _second_gpu(place: Place, call: Call) -> None:
    _on_gpu(place)
    if torch.cuda.device_count() < 2:
        raise Absent("there is one GPU")
    inputs = call.inputs(0)
    other = torch.device("cuda", (torch.cuda.current_device() + 1) % torch.cuda.device_count())
    got = call.run(*(t.to(other) for t in inputs))
    _compare(call, _moved(got, place.device), call.run(*inputs), "the result on a second GPU")


def _moved(result: Any, device: torch.device) -> Any:
    return tuple(t.to(device) for t in result) if isinstance(result, tuple) else result.to(device)


def _compiled(place: Place, call: Call) -> None:
    torch.compiler.reset()
    backend = "aot_eager" if place.dry else "inductor"
    compiled: Callable[..., Any] = torch.compile(call.function, fullgraph=True, dynamic=True, backend=backend)
    for size in (0, 1):
        inputs = call.inputs(size)
        _compare(call, call.run(*inputs, function=compiled), call.run(*inputs), f"the compiled result of size {size}")


def _opcheck(place: Place, name: str, shape: int) -> None:
    given = arguments(name, shape, place)
    utilities = ("test_schema", "test_faketensor", "test_autograd_registration", "test_aot_dispatch_dynamic")
    torch.library.opcheck(getattr(_ops, name), given, test_utils=utilities)
    wanted = [a.detach() if isinstance(a, Tensor) else a for a in arguments(name, shape, place)]
    reference = getattr(_ops, name)(*wanted[:-1], "reference")
    got = getattr(_ops, name)(*wanted)
    for a, b in zip(_listed(got), _listed(reference), strict=True):
        if b.is_floating_point():
            judge.close(a, b, 1e-3, 1e-3, name)
        elif name != "linear_sample":  # each backend draws its own
            judge.same(a, b, name)


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
