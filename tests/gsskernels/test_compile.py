"""Whole graphs without breaks, compiled once for dynamic shapes and called on two sizes."""

import pytest
import torch

import gsskernels as g
from tests.gsskernels.calls import CALLS, Call
from tests.gsskernels.inputs import random_palette, seeded


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_full_graph_and_dynamic_shapes(call: Call, default_backend: str) -> None:
    torch.compiler.reset()
    compiler = "inductor" if default_backend == "triton" else "aot_eager"
    compiled = torch.compile(call.function, fullgraph=True, dynamic=True, backend=compiler)
    for size in (0, 1):
        inputs = call.inputs(size)
        torch.testing.assert_close(call.run(*inputs, function=compiled), call.run(*inputs))


@pytest.mark.parametrize("resize", ["vote", "rgb"])
def test_sizes_that_depend_on_the_input(resize: str) -> None:
    palette = random_palette(3)

    def decode(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return g.maskige_decode(x, palette, size=(2 * x.shape[2], 9), resize=resize, margin=True)

    torch.compiler.reset()
    compiled = torch.compile(decode, fullgraph=True, dynamic=True, backend="aot_eager")
    for side in (6, 10):
        image = torch.rand(2, 3, side, side + 3, generator=seeded(side)) * 255
        torch.testing.assert_close(compiled(image), decode(image))
