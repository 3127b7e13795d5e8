"""Only on a GPU: CUDA graphs, streams, several GPUs, no waiting for the device, and problems of large sizes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import gsskernels as g
from tests.gsskernels.calls import CALLS, Call
from tests.gsskernels.inputs import assert_best, gaussian, random_palette, require_memory, same, seeded

if not torch.cuda.is_available():
    pytest.skip("torch finds no CUDA GPU", allow_module_level=True)
pytestmark = [pytest.mark.gpu, pytest.mark.backends("triton")]
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def assert_as(call: Call, got: Any, wanted: Any) -> None:
    if call.exact:
        assert same(got, wanted)
    else:
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3, equal_nan=True)


@each_call
def test_the_host_never_waits_for_the_device(call: Call) -> None:
    inputs = call.inputs(0)
    call.run(*inputs)  # compiling may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call.run(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@each_call
def test_a_cuda_graph_reads_its_inputs_at_every_replay(call: Call) -> None:
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
    for by in range(3):  # other values of the same kind: rows, pixels and codes in another order
        changed = [t.roll(by, 0) if t.shape[-1] == 3 else t.roll(by, 0).roll(by, -1) for t in call.inputs(0)]
        for target, source in zip(static, changed, strict=True):
            target.copy_(source)
        graph.replay()
        assert_as(call, captured, call.run(*changed))


@each_call
def test_a_second_stream(call: Call) -> None:
    """The inputs arrive late on the stream: a kernel started on another stream would read zeros."""
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
    assert_as(call, got, wanted)


@each_call
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs")
def test_a_second_gpu(call: Call) -> None:
    inputs = call.inputs(0)
    other = torch.device("cuda", (torch.cuda.current_device() + 1) % torch.cuda.device_count())
    got, wanted = call.run(*(t.to(other) for t in inputs)), call.run(*inputs)
    back = tuple(t.to(inputs[0].device) for t in got) if isinstance(got, tuple) else got.to(inputs[0].device)
    assert_as(call, back, wanted)


# Larger problems than the contract's: candidate cells for whole photos, many tiles and splits of codes.


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", [8, 19, 150, 194, 255, 256, 1000])
def test_decoding_a_photo(num_classes: int, dtype: torch.dtype) -> None:
    """Colours, midpoints between them, noise around them, anything, far outside, and not finite."""
    palette = random_palette(num_classes)
    first, second = palette[torch.randint(0, num_classes, (2, 1024, 2048), generator=seeded())]
    image = torch.stack(
        [first, (first + second) / 2, first + 8 * gaussian(1024, 2048, 3), gaussian(1024, 2048, 3) * 300]
    )
    image = image.permute(0, 3, 1, 2).contiguous()
    if dtype is not torch.uint8:
        image[-1, :, :100] *= 1e30
        image[-1, 0, 100, ::7], image[-1, 1, 100, 1::7], image[-1, :, 100, 2::7] = torch.nan, torch.inf, -torch.inf
    image = image.clamp(0, 255).to(dtype) if dtype is torch.uint8 else image.to(dtype)
    wanted, wall = g.maskige_decode(image, palette, margin=True, backend="reference")
    labels, margin = g.maskige_decode(image, palette, margin=True)
    assert same(labels, wanted) and same(g.maskige_decode(image, palette), wanted)
    torch.testing.assert_close(margin, wall, rtol=1e-5, atol=1e-4, equal_nan=True)


MODES = [(torch.float32, None), (torch.float32, "tf32"), (torch.float32, "bf16"), (torch.float16, None),
         (torch.bfloat16, None)]  # fmt: skip


@pytest.mark.parametrize("shape", [(999, 2100, 64), (33, 70, 2048), (5, 8192, 17), (4000, 8192, 256), (640, 4096, 512)])
@pytest.mark.parametrize(("dtype", "precision"), MODES)
@pytest.mark.parametrize("content", ["normal", "clustered", "nearly tied", "far from zero", "huge", "small"])
def test_large_codebooks(shape: tuple[int, int, int], dtype: torch.dtype, precision: str | None, content: str) -> None:
    rows, codes, features = shape
    x, table, bias = gaussian(rows, features), gaussian(codes, features, seed=1), gaussian(codes, seed=2)
    if content in ("clustered", "far from zero"):
        x = table[torch.randint(0, codes, (rows,), generator=seeded(3))] + 0.3 * x
    if content == "nearly tied":  # pairs that differ by less than a cheap first pass can see
        table = table[torch.arange(codes) // 2 * 2] + 1e-5 * table
    if content == "far from zero":  # the expanded distance cancels
        x, table = x + 100, table + 100
    # Products of the largest leave float32 where the answer is certified, and stay in it where it accumulates.
    certified = dtype is torch.float32 and precision is None
    huge, small = (1e25, 1e-25) if certified else (1e2, 2.0**-8) if dtype is torch.float16 else (1e15, 1e-15)
    scale = huge if content == "huge" else small if content == "small" else 1.0
    x, table = (x.double() * scale).to(dtype), (table.double() * scale).to(dtype)
    bias = (bias.double() * table.abs().max()).to(dtype)
    assert_best(g.nearest_code(x, table, precision=precision), x, table, None, precision)
    assert_best(g.linear_argmax(x, table, bias, precision=precision), x, table, bias, precision)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("codes", [7, 1000])
def test_many_draws_follow_the_softmax(dtype: torch.dtype, codes: int) -> None:
    """Pearson's chi-squared of 400,000 draws; cells that expect few are pooled."""
    x, weight, bias = gaussian(1, 16).to(dtype) / 2, gaussian(codes, 16, seed=1).to(dtype), gaussian(codes, seed=2)
    index = g.linear_sample(x.expand(400_000, 16), weight, bias, temperature=1.5, seed=3)
    probability = ((x.double() @ weight.double().t() + bias.double())[0] / 1.5).softmax(0)
    expected, order = (probability * 400_000).sort(descending=True)
    found = torch.bincount(index, minlength=codes).double()[order]
    frequent = int((expected >= 10).sum())
    rare = [expected[frequent:].sum()], [found[frequent:].sum()]
    expected, found = (torch.tensor([*t[:frequent], *r]) for t, r in zip((expected, found), rare, strict=True))
    statistic = ((found - expected) ** 2 / expected.clamp(min=1e-9)).sum()
    freedom = torch.tensor((max(1, frequent - 1) + (len(expected) > frequent)) / 2, dtype=torch.float64)
    assert torch.special.gammaincc(freedom, statistic.double() / 2) > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(257, 515, 123), (1000, 8192, 256), (640, 8192, 2048), (4097, 100, 33)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_large_losses(shape: tuple[int, int, int], dtype: torch.dtype, reduction: str, smoothing: float) -> None:
    """Errors of loss and gradients against float64 are at most twice those of PyTorch in the same dtype."""
    rows, codes, features = shape
    x, weight = gaussian(rows, features).to(dtype), (gaussian(codes, features, seed=1) / features**0.5).to(dtype)
    bias, target = gaussian(codes, seed=2).to(dtype), torch.randint(0, codes, (rows,), generator=seeded(3))
    target[::10] = codes  # GSS ignores the id V
    options: dict[str, Any] = {"ignore_index": codes, "label_smoothing": smoothing, "reduction": reduction}

    def run(function: Any, wide: torch.dtype) -> list[Tensor]:
        leaves = [t.detach().to(wide).requires_grad_() for t in (x, weight, bias)]
        loss = function(*leaves)
        upstream = torch.linspace(-1, 2, rows).to(loss.dtype) if loss.dim() else loss.new_tensor(2.0)
        return [loss.detach(), *torch.autograd.grad(loss, leaves, upstream)]

    def theirs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(x, weight, bias), target, **options)

    ours = run(lambda x, weight, bias: g.linear_cross_entropy(x, weight, target, bias, **options), dtype)
    for got, baseline, exact in zip(ours, run(theirs, dtype), run(theirs, torch.float64), strict=True):
        rounding = 8 * torch.finfo(torch.float32).eps
        error, allowed = (got.double() - exact).norm(), 2 * (baseline.double() - exact).norm()
        assert got.shape == exact.shape and error <= allowed + rounding * exact.norm()
        largest = 4 * (baseline.double() - exact).abs().max() + rounding * exact.abs().max()
        assert (got.double() - exact).abs().max() <= largest


# More than 2^31 elements, where 32-bit offsets would wrap. Results are compared with the reference at the start, around
# element 2^31 and at the end only.


def windows(size: int) -> list[slice]:
    around = [slice(2**31 - 500, 2**31 + 500)] if size > 2**31 + 500 else []
    return [slice(0, 1000), *around, slice(size - 1000, size)]


def test_more_than_2_to_the_31_pixels() -> None:
    require_memory(8)
    width = 2**30 // 3 + 1001
    labels = torch.randint(0, 19, (2, width), generator=seeded(), dtype=torch.uint8)
    painted = g.maskige_encode(labels, random_palette(19), dtype=torch.uint8)
    assert painted.numel() > 2**31
    for part in windows(width):
        wanted = g.maskige_encode(labels[:, part], random_palette(19), dtype=torch.uint8, backend="reference")
        assert same(painted[..., part], wanted)
    for num_classes in (19, 150):
        palette = random_palette(num_classes)
        decoded = g.maskige_decode(painted, palette)
        for part in windows(width):
            assert same(decoded[:, part], g.maskige_decode(painted[..., part], palette, backend="reference"))


def test_resizing_more_than_2_to_the_31_labels() -> None:
    """Labels stay as they are at their own size. Sides are below 2^24: coordinates are float32."""
    require_memory(8)
    rows, width = 2**15 + 3, 2**16
    labels = torch.randint(0, 19, (rows, width), generator=seeded(), dtype=torch.uint8)
    assert same(g.label_resize(labels, (rows, width), num_classes=19), labels)


def test_more_than_2_to_the_31_features() -> None:
    require_memory(20)
    rows, features = 2**31 // 64 + 1001, 64
    x = torch.empty(rows, features, dtype=torch.bfloat16).normal_(generator=seeded())
    table = gaussian(16, features, seed=1).bfloat16()
    index, draws = g.linear_argmax(x, table), g.linear_sample(x, table, seed=5)
    for part in windows(rows):
        assert_best(index[part], x[part], table, torch.zeros(16))
    assert same(g.linear_sample(x, table, seed=5)[-1000:], draws[-1000:]) and len(draws[-1000:].unique()) >= 8
    codes = torch.arange(rows) % 4
    counts, sums = g.code_statistics(torch.ones(1, 64, dtype=torch.bfloat16).expand(rows, 64), codes, 5)
    assert same(counts, torch.bincount(codes, minlength=5))
    torch.testing.assert_close(sums, counts.float()[:, None].expand(5, 64), rtol=1e-5, atol=0.0)


def test_more_than_2_to_the_31_scores() -> None:
    require_memory(12)
    rows, codes = 270_000, 8192
    x, weight = gaussian(rows, 16).bfloat16(), gaussian(codes, 16, seed=1).bfloat16()
    target = torch.randint(0, codes, (rows,), generator=seeded(2))
    losses, index = g.linear_cross_entropy(x, weight, target, reduction="none"), g.linear_argmax(x, weight)
    for part in windows(rows):
        wanted = F.cross_entropy(x[part].double() @ weight.double().t(), target[part], reduction="none")
        torch.testing.assert_close(losses[part].double(), wanted, rtol=1e-5, atol=1e-4)
        assert_best(index[part], x[part], weight, torch.zeros(codes))
