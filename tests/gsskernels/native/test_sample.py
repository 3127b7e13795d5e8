"""linear_sample on every instruction set gives the draws of the reference, because it uses the same noise."""

import math

import pytest
import torch
from torch import Tensor

from gsskernels import linear_argmax, linear_sample
from tests.gsskernels.inputs import gaussian

HALF = (torch.float16, torch.bfloat16)


def assert_same(x: Tensor, weight: Tensor, bias: Tensor | None = None, temperature: float = 1.0, dim: int = -1) -> None:
    options = {"temperature": temperature, "seed": 2**62 + 12345, "dim": dim}
    wanted = linear_sample(x, weight, bias, backend="reference", **options)
    assert torch.equal(linear_sample(x, weight, bias, backend="native", **options), wanted)


# Around tiles of rows and groups of codes, as for the argmax.
@pytest.mark.parametrize("dims", [0, 1, 5, 64, 130])
@pytest.mark.parametrize("codes", [1, 2, 12, 13, 700])
@pytest.mark.parametrize("rows", [1, 31, 70])
def test_awkward_sizes(isa: str, dims: int, codes: int, rows: int) -> None:
    assert_same(gaussian(rows, dims), gaussian(codes, dims, seed=1), gaussian(codes, seed=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALF])
@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 0.3, 1.0, 5.0, 1e6, 1e300])
def test_dtypes_and_temperatures(isa: str, dtype: torch.dtype, temperature: float) -> None:
    assert_same(gaussian(80, 12).to(dtype), gaussian(90, 12, seed=1).to(dtype), gaussian(90, seed=2), temperature)


def test_frequencies_follow_the_softmax(isa: str) -> None:
    """Pearson's chi-squared over 20 tokens and 200000 draws; 43.82 is its 0.999 quantile at 19 degrees of freedom."""
    draws = 200000
    x, weight, bias = gaussian(1, 5), gaussian(20, 5, seed=1), gaussian(20, seed=2)
    expected = draws * ((x @ weight.T + bias)[0].double() / 1.5).softmax(0)
    index = linear_sample(x.expand(draws, 5), weight, bias, temperature=1.5, seed=3, backend="native")
    counts = torch.bincount(index, minlength=20).double()
    assert ((counts - expected) ** 2 / expected).sum() < 43.82


def test_many_rows_take_the_references_draws(isa: str) -> None:
    """Enough draws to meet noise from the ends of its range. Logits are uniform: only the noise decides."""
    assert_same(torch.zeros(3000, 2), torch.zeros(300, 2))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_show(isa: str, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(gaussian(1300, 20), gaussian(500, 20, seed=1), gaussian(500, seed=2))
        assert_same(gaussian(60, 80), gaussian(14000, 80, seed=1) / 4)
    finally:
        torch.set_num_threads(before)


def test_forbidden_and_nan_tokens(isa: str) -> None:
    x, weight, bias = gaussian(600, 8), gaussian(50, 8, seed=1), gaussian(50, seed=2)
    bias[::3], bias[1], weight[4, 2] = -math.inf, math.nan, math.nan
    assert_same(x, weight, bias)
    drawn = set(linear_sample(x, weight, bias, backend="native").tolist())
    assert drawn.isdisjoint(range(0, 50, 3)) and 1 not in drawn and 4 not in drawn
    assert_same(x, weight, torch.full((50,), -math.inf))
    assert_same(x, weight, torch.full((50,), math.nan))
    x[5, 3], x[6, 0], weight[10, 0] = math.inf, math.nan, math.inf
    assert_same(x, weight, bias)


def test_magnitudes_and_offsets(isa: str) -> None:
    for scale in (1e-40, 1e-19, 1e19, 1e30):
        assert_same(gaussian(70, 10) * scale, gaussian(60, 10, seed=1))
    assert_same(gaussian(70, 10) + 500, gaussian(60, 10, seed=1) + 500)


def test_layouts(isa: str) -> None:
    weight = gaussian(40, 10, seed=1)
    for height, width in ((8, 12), (5, 7)):
        x = gaussian(2, 10, height, width)
        assert_same(x, weight, dim=1)
        assert_same(x.contiguous(memory_format=torch.channels_last), weight, dim=1)
        assert_same(x[:, :, ::2, 1:], weight, dim=1)
    assert linear_sample(torch.empty(0, 10), weight, backend="native").shape == (0,)


def test_low_temperature_is_argmax(isa: str) -> None:
    x, weight = gaussian(300, 16), gaussian(200, 16, seed=1)
    drawn = linear_sample(x, weight, temperature=1e-7, backend="native")
    assert torch.equal(drawn, linear_argmax(x, weight, backend="native"))
