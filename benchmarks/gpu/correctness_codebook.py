"""nearest_code, linear_argmax, linear_sample and code_statistics.

An index is judged by its float64 score, over operands as the precision rounds them; where scores are exact (small
integers, copies of a code) it must be the reference's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import gsskernels as g
from benchmarks.gpu import judge
from benchmarks.gpu.checks import Absent, Check, Wrong
from benchmarks.gpu.place import Place
from gsskernels.reference.codebook import _operand

MODES = [
    ("float32", None), ("float32", "tf32"), ("float32", "bf16"), ("float16", None), ("bfloat16", None),
    ("float64", None),
]  # fmt: skip
# One code, one feature, odd sizes, colours, a whole tile, more features than a tile, few rows, the promised shape.
SHAPES = [(1000, 1, 7), (257, 515, 1), (130, 129, 3), (999, 2100, 64), (64, 1000, 300), (33, 70, 2048), (5, 8192, 17),
          (4000, 8192, 256), (640, 4096, 512)]  # fmt: skip
TINY = [(9, 1, 3), (5, 33, 1), (20, 19, 17)]
# Products of the largest ones leave float32 where the answer is certified, and stay in it where it accumulates.
SCALES = {"float16": (1e2, 2.0**-8), "bfloat16": (1e15, 1e-15), "float32": (1e25, 1e-25), "float64": (1e100, 1e-100)}


def checks(place: Place) -> Iterator[Check]:
    shapes, hostile = (TINY, (11, 18, 5)) if place.dry else (SHAPES, (999, 1030, 96))
    for name in ("nearest_code", "linear_argmax"):
        for dtype, precision in MODES:
            group = f"{name}/{dtype}" + (f" as {precision}" if precision else "")
            run = partial(_argmax, place, name, dtype, precision)
            for shape in shapes:
                yield Check(group, f"normal {_text(shape)}", partial(run, shape, normal))
            for content in (clustered, nearly_tied, far_from_zero, huge, small):
                yield Check(group, f"{content.__name__} {_text(hostile)}", partial(run, hostile, content))
            for exact in (integers, copies, not_finite):
                arguments = (place, name, dtype, precision, hostile, exact)
                yield Check(group, f"{exact.__name__} {_text(hostile)}", partial(_exact, *arguments))
            for layout in ("channels first", "channels last", "strided", "expanded", "no rows"):
                yield Check(group, layout, partial(_layout, place, name, dtype, precision, layout))
    for dtype in ("float32", "float16", "bfloat16"):
        for codes, temperature in ((7, 1.0), (7, 0.5), (1000, 3.0)):
            name = f"{codes} tokens at temperature {temperature}"
            yield Check(f"linear_sample/{dtype}", name, partial(_sample, place, dtype, codes, temperature))
        yield Check(f"linear_sample/{dtype}", "seeds, rows, forbidden tokens", partial(_draws, place, dtype))
        for shape in ((5000, 19, 3), (3001, 8192, 256), (4096, 70, 17)) if not place.dry else ((30, 7, 3),):
            for skew in ("even", "one code takes most", "ids outside"):
                run_statistics = partial(_statistics, place, dtype, shape, skew)
                yield Check(f"code_statistics/{dtype}", f"{skew} {_text(shape)}", run_statistics)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


# --- Inputs: x (N, D), table (V, D) in float64 ----------------------------------------------------------------------

Pair = tuple[Tensor, Tensor]


def normal(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    make = place.generator(n + v + d)
    options: dict[str, Any] = {"generator": make, "device": place.device}
    return torch.randn(n, d, **options).double(), torch.randn(v, d, **options).double()


def clustered(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    x, table = normal(place, n, v, d, dtype)
    chosen = torch.randint(0, v, (n,), generator=place.generator(1), device=place.device)
    return table[chosen] + 0.3 * x, table


def nearly_tied(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    """Codes in pairs that differ by less than a cheap first pass can see."""
    x, table = normal(place, n, v, d, dtype)
    pairs = table[torch.arange(v, device=place.device) // 2 * 2]
    return x, pairs + 1e-5 * table


def far_from_zero(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    """The expanded distance cancels."""
    x, table = clustered(place, n, v, d, dtype)
    return x + 100, table + 100


def huge(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    x, table = normal(place, n, v, d, dtype)
    return x * SCALES[dtype][0], table * SCALES[dtype][0]


def small(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    x, table = normal(place, n, v, d, dtype)
    return x * SCALES[dtype][1], table * SCALES[dtype][1]


def integers(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    """Every score is exact and many are tied."""
    options: dict[str, Any] = {"generator": place.generator(n + v + d), "device": place.device}
    return torch.randint(-2, 3, (n, d), **options).double(), torch.randint(-2, 3, (v, d), **options).double()


def copies(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    """Every code three times, anywhere in the table."""
    x, table = normal(place, n, v, d, dtype)
    order = torch.randperm(v, generator=place.generator(2), device=place.device)
    return x, table[: -(-v // 3)].repeat(3, 1)[:v][order]


def not_finite(place: Place, n: int, v: int, d: int, dtype: str) -> Pair:
    x, table = integers(place, n, v, d, dtype)
    values = torch.tensor([math.inf, -math.inf, math.nan], device=place.device, dtype=torch.float64)
    for t, share in ((x, 0.02), (table, 0.002)):
        where = torch.rand(t.shape, generator=place.generator(3), device=place.device) < share
        t[where] = values[torch.arange(int(where.sum()), device=place.device) % 3]
    return x, table


Content = Callable[[Place, int, int, int, str], Pair]

# --- The checks -----------------------------------------------------------------------------------------------------


def operands(
    place: Place, shape: tuple[int, ...], content: Content, dtype: str, range_of: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """x, table and bias in `dtype`, of a magnitude for `range_of`."""
    n, v, d = shape
    kind = getattr(torch, dtype)
    x, table = content(place, n, v, d, range_of or dtype)
    bias = torch.randn(v, generator=place.generator(5), device=place.device)
    if content in (integers, not_finite):
        bias = bias.round()
    scale = float(table.abs().nan_to_num(0, 0, 0).max()) if content is not copies else 0.0  # copies score alike
    return x.to(kind), table.to(kind), (bias.double() * scale).to(kind)


def _possible(place: Place, dtype: str, precision: str | None) -> None:
    if place.interpreted and "bf" in f"{dtype} {precision}":
        raise Absent("the interpreter multiplies bfloat16 matrices wrongly")


def _call(place: Place, name: str, x: Tensor, table: Tensor, bias: Tensor, precision: str | None, dim: int = -1) -> Any:
    options: dict[str, Any] = {"dim": dim, "precision": precision, "backend": place.backend}
    return g.nearest_code(x, table, **options) if name == "nearest_code" else g.linear_argmax(x, table, bias, **options)


def _argmax(
    place: Place, name: str, dtype: str, precision: str | None, shape: tuple[int, ...], content: Content
) -> dict[str, Any]:
    _possible(place, dtype, precision)
    x, table, bias = operands(place, shape, content, dtype, "bfloat16" if precision else dtype)
    index = _call(place, name, x, table, bias, precision)
    return _judged(name, precision, index, x, table, bias)


def _judged(name: str, precision: str | None, index: Tensor, x: Tensor, table: Tensor, bias: Tensor) -> dict[str, Any]:
    seen_x, seen_table = _operand(x, precision), _operand(table, precision)
    offset = -0.5 * seen_table.square().sum(1) if name == "nearest_code" else bias.double()
    return judge.best(index, seen_x, seen_table, offset, x.shape[1])


def _exact(
    place: Place, name: str, dtype: str, precision: str | None, shape: tuple[int, ...], content: Content
) -> None:
    _possible(place, dtype, precision)
    x, table, bias = operands(place, shape, content, dtype)
    index = _call(place, name, x, table, bias, precision)
    if content is copies:
        _judged(name, precision, index, x, table, bias)
        first = (table[index][:, None] == table[None]).all(2).to(torch.uint8).argmax(1)
        judge.same(index, first, "the index, against the first copy of its code,")
        return
    reference = Place(place.device, "reference", place.dry)
    judge.same(index, _call(reference, name, x, table, bias, precision), "the index")


def _layout(place: Place, name: str, dtype: str, precision: str | None, layout: str) -> None:
    """A view gives what its copy gives."""
    _possible(place, dtype, precision)
    x, table, bias = operands(place, (2 * 33 * 10, 40, 24), integers, dtype)
    image, dim = x.view(2, 33, 10, 24).permute(0, 3, 1, 2), 1
    if layout == "channels first":
        image = image.contiguous()
    elif layout == "channels last":
        image = image.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        image = torch.cat([image, image], 3).contiguous()[:, :, ::2, 1:12]
        table = torch.cat([table, table], 1)[:, ::2]
    elif layout == "expanded":
        image = image[:1, :, :1].expand(3, 24, 5, 10)
    else:
        image = image[:, :, :0]
    index = _call(place, name, image, table, bias, precision, dim)
    rows = image.permute(0, 2, 3, 1).reshape(-1, 24).contiguous()
    wanted = _call(Place(place.device, "reference", True), name, rows, table.contiguous(), bias, precision)
    judge.same(index, wanted.view(image.shape[0], *image.shape[2:]), "the index")


def _sample(place: Place, dtype: str, codes: int, temperature: float) -> dict[str, Any]:
    _possible(place, dtype, None)
    draws = 2000 if place.dry else 400_000
    if place.dry and codes > 100:
        raise Absent("too slow for a dry run")
    x, weight, bias = operands(place, (1, codes, 16), normal, dtype)
    x, bias = x * 0.5, bias * 0.3
    options: dict[str, Any] = {"temperature": temperature, "seed": 3, "backend": place.backend}
    index = g.linear_sample(x.expand(draws, 16), weight, bias, **options)
    logits = (x.double() @ weight.double().t() + bias.double())[0] / temperature
    return judge.follows(torch.bincount(index, minlength=codes), logits.softmax(0))


def _draws(place: Place, dtype: str) -> None:
    _possible(place, dtype, None)
    n, codes = (200, 16) if place.dry else (20_000, 16)
    x = torch.zeros(n, 8, dtype=getattr(torch, dtype), device=place.device)
    weight = torch.zeros(codes, 8, dtype=x.dtype, device=place.device)
    options: dict[str, Any] = {"backend": place.backend}
    samples = [g.linear_sample(x, weight, seed=seed, **options) for seed in (0, 1, 2, 2**40)]
    judge.same(g.linear_sample(x, weight, seed=0, **options), samples[0], "the same seed's draw")
    judge.same(g.linear_sample(x[:17], weight, seed=0, **options), samples[0][:17], "a row's draw without the others")
    deviation = 5 * math.sqrt(n * (1 / codes) * (1 - 1 / codes))
    for i, a in enumerate(samples):
        for b in [*samples[:i], a.roll(1), a.roll(codes)]:
            if abs(int((a == b).sum()) - n / codes) > deviation:
                raise Wrong(f"{int((a == b).sum())} of {n} draws agree, {n / codes} +- {deviation:.0f} are expected")
    bias = torch.zeros(codes, device=place.device, dtype=x.dtype)
    bias[::2], bias[1] = -math.inf, math.nan
    drawn = g.linear_sample(x, weight, bias, **options).unique().tolist()
    if drawn != list(range(3, codes, 2)):
        raise Wrong(f"tokens {drawn} were drawn, only 3, 5, ... are allowed")


def _statistics(place: Place, dtype: str, shape: tuple[int, ...], skew: str) -> dict[str, Any]:
    n, v, d = shape
    x = normal(place, n, v, d, dtype)[0].to(getattr(torch, dtype))
    codes = torch.randint(0, v, (n,), generator=place.generator(7), device=place.device)
    if skew == "one code takes most":
        codes = torch.where(torch.rand(n, generator=place.generator(8), device=place.device) < 0.9, v // 2, codes)
    if skew == "ids outside":
        codes = codes * 3 - v
    counts, sums = g.code_statistics(x, codes, v, backend=place.backend)
    again = g.code_statistics(x, codes, v, backend=place.backend)
    judge.same(again, (counts, sums), "a second call")
    kept = (codes >= 0) & (codes < v)
    judge.same(counts, torch.bincount(codes[kept], minlength=v), "counts")
    truth = torch.zeros(v, d, dtype=torch.float64, device=place.device).index_add(0, codes[kept], x[kept].double())
    theirs = torch.zeros(v, d, device=place.device).index_add(0, codes[kept], x[kept].float())
    return judge.no_worse(sums, theirs, truth, "sums")
