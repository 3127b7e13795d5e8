import math

import pytest
import torch

import gsskernels.reference.codebook as reference
from gsskernels import linear_argmax, linear_sample
from tests.gsskernels.inputs import seeded


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_frequencies_follow_the_softmax(temperature: float) -> None:
    """Pearson's chi-squared over 7 tokens and 40000 draws; 22.46 is its 0.999 quantile at 6 degrees of freedom."""
    draws = 40000
    x = torch.randn(1, 5, generator=seeded())
    weight, bias = torch.randn(7, 5, generator=seeded(1)), torch.randn(7, generator=seeded(2))
    index = linear_sample(x.expand(draws, 5), weight, bias, temperature=temperature, seed=3)
    expected = draws * ((x @ weight.T + bias)[0].double() / temperature).softmax(0)
    counts = torch.bincount(index, minlength=7).double()
    assert ((counts - expected) ** 2 / expected).sum() < 22.46


def test_neighbouring_seeds_and_rows_are_independent() -> None:
    """Uniform logits: agreements of two samples are binomial(n, 1/V); five standard deviations are allowed."""
    rows, codes = 4000, 16
    x, weight = torch.zeros(rows, 2), torch.zeros(codes, 2)
    samples = [linear_sample(x, weight, seed=s) for s in (0, 1, 2, 2**40)]
    deviation = 5 * math.sqrt(rows * (1 / codes) * (1 - 1 / codes))
    for i, a in enumerate(samples):
        pairs = [(a, b) for b in samples[:i]] + [(a[1:], a[:-1]), (a[codes:], a[:-codes])]
        for first, second in pairs:
            assert abs((first == second).sum().item() - len(first) / codes) < deviation


def test_a_seed_is_a_draw_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(90, 6, generator=seeded()), torch.randn(40, 6, generator=seeded(1))
    once = linear_sample(x, weight, seed=11)
    assert torch.equal(linear_sample(x, weight, seed=11), once)
    assert not torch.equal(linear_sample(x, weight, seed=12), once)
    monkeypatch.setattr(reference, "CHUNK_SCORES", 300)
    assert torch.equal(linear_sample(x, weight, seed=11), once)
    assert torch.equal(linear_sample(x[:17], weight, seed=11), once[:17])


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    linear_sample(torch.zeros(3, 2), torch.zeros(4, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_low_temperature_is_argmax() -> None:
    x, weight = torch.randn(60, 6, generator=seeded()), torch.randn(40, 6, generator=seeded(1))
    assert torch.equal(linear_sample(x, weight, temperature=1e-6), linear_argmax(x, weight))


def test_forbidden_and_nan_tokens_are_never_drawn() -> None:
    x, weight = torch.zeros(500, 2), torch.zeros(4, 2)
    bias = torch.tensor([-math.inf, 0.0, math.nan, 0.0])
    assert set(linear_sample(x, weight, bias).tolist()) == {1, 3}
    assert linear_sample(x[:2], weight, torch.full((4,), math.nan)).tolist() == [0, 0]


def test_dim_one_token_and_no_rows() -> None:
    x, weight = torch.randn(2, 5, 3, 4, generator=seeded()), torch.randn(9, 5, generator=seeded(1))
    rows = linear_sample(x.permute(0, 2, 3, 1).reshape(-1, 5), weight, seed=1)
    assert torch.equal(linear_sample(x, weight, seed=1, dim=1), rows.view(2, 3, 4))
    assert linear_sample(x, weight[:1], dim=1).eq(0).all()
    assert linear_sample(torch.empty(0, 5), weight).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_operands(dtype: torch.dtype, default_backend: str) -> None:
    x, weight = torch.randn(60, 6, generator=seeded()).to(dtype), torch.randn(40, 6, generator=seeded(1)).to(dtype)
    equal = linear_sample(x, weight, seed=2) == linear_sample(x.float(), weight.float(), seed=2)
    assert bool(equal.all()) or (default_backend == "triton" and equal.float().mean() > 0.95)  # it sums in float32


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_temperature_is_checked(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        linear_sample(torch.zeros(1, 2), torch.zeros(3, 2), temperature=temperature)
