import math

import pytest
import torch

from gsskernels import linear_argmax, linear_sample
from gsskernels.triton import launch, sample
from gsskernels.triton.plan import SM_80, Config
from tests.gsskernels.inputs import INF, NAN, gaussian


@pytest.mark.parametrize(("temperature", "dtype"), [(1.0, torch.float32), (3.0, torch.float16)])
def test_frequencies_follow_the_softmax(device: torch.device, temperature: float, dtype: torch.dtype) -> None:
    """Pearson's chi-squared over 21 tokens (more than four, whose noise comes from one Philox call) and 6000 draws;
    45.31 is its 0.999 quantile at 20 degrees of freedom."""
    draws, codes = 6000, 21
    x, weight, bias = (
        gaussian(1, 5).to(dtype),
        gaussian(codes, 5, seed=1).to(dtype) / 2,
        gaussian(codes, seed=2).to(dtype) / 2,
    )
    given = [t.to(device) for t in (x.expand(draws, 5), weight, bias)]
    index = linear_sample(*given, temperature=temperature, seed=3).cpu()
    expected = draws * ((x.double() @ weight.double().T + bias.double())[0] / temperature).softmax(0)
    counts = torch.bincount(index, minlength=codes).double()
    assert ((counts - expected) ** 2 / expected).sum() < 45.31


def test_neighbours_are_independent(device: torch.device) -> None:
    """Uniform logits: agreements of two samples are binomial(n, 1/V); five standard deviations are allowed."""
    rows, codes = 3000, 16
    x, weight = torch.zeros(rows, 2, device=device), torch.zeros(codes, 2, device=device)
    samples = [linear_sample(x, weight, seed=s) for s in (0, 1, 2**40)]
    deviation = 5 * math.sqrt(rows * (1 / codes) * (1 - 1 / codes))
    for i, a in enumerate(samples):
        for first, second in [(a, b) for b in samples[:i]] + [(a[1:], a[:-1]), (a[codes:], a[:-codes])]:
            assert abs((first == second).sum().item() - len(first) / codes) < deviation


def test_noise_depends_on_seed_row_and_code_alone(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = gaussian(50, 6).to(device), gaussian(70, 6, seed=1).to(device)
    once = linear_sample(x, weight, seed=11)
    assert torch.equal(linear_sample(x, weight, seed=11), once)
    assert not torch.equal(linear_sample(x, weight, seed=12), once)
    assert torch.equal(linear_sample(x[:17], weight, seed=11), once[:17])
    assert torch.equal(linear_sample(x.t().contiguous(), weight, seed=11, dim=0), once)
    monkeypatch.setattr(sample, "plan_sample", lambda *_: (Config(16, 16, 16), 3))
    assert torch.equal(linear_sample(x, weight, seed=11), once)
    monkeypatch.setattr(launch, "stand_in", SM_80)
    assert torch.equal(linear_sample(x, weight, seed=11), once)


def test_low_temperature_is_argmax(device: torch.device) -> None:
    x, weight = gaussian(40, 6).to(device), gaussian(40, 6, seed=1).to(device)
    assert torch.equal(linear_sample(x, weight, temperature=1e-6), linear_argmax(x, weight))


def test_forbidden_and_nan_tokens_are_never_drawn(device: torch.device) -> None:
    x, weight = torch.zeros(200, 2, device=device), torch.zeros(5, 2, device=device)
    weight[3] = NAN
    bias = torch.tensor([0.0, -INF, 0.0, 0.0, -INF], device=device)
    assert set(linear_sample(x, weight, bias).tolist()) == {0, 2}
    assert linear_sample(torch.full((3, 2), NAN, device=device), weight).tolist() == [0, 0, 0]
    assert linear_sample(torch.empty(0, 2, device=device), weight).shape == (0,)
