"""float32 operands: fast passes with an error bound, float64 for undecided rows. The answer equals that of float64."""

import pytest
import torch
from torch import Tensor

from gsskernels import linear_argmax, nearest_code
from gsskernels.triton import certified, decide, launch
from gsskernels.triton.codes import split_codes
from gsskernels.triton.plan import SM_80, SM_90, SM_100, Architecture
from gsskernels.triton.rows import rows_of
from tests.gsskernels.inputs import INF, NAN, gaussian, seeded


@pytest.fixture(autouse=True)
def no_problem_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certified, "SMALL_WORK", 0)


# Pointers and float64 matrix units; descriptors and the same; descriptors and an outer product.
@pytest.fixture(params=[SM_80, SM_90, SM_100], ids=["sm80", "sm90", "sm100"])
def architecture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    monkeypatch.setattr(launch, "stand_in", request.param)
    return request.param


def assert_as_reference(x: Tensor, table: Tensor, bias: Tensor | None = None, dim: int = -1) -> None:
    wanted = nearest_code(x, table, dim=dim, backend="reference")
    assert torch.equal(nearest_code(x, table, dim=dim), wanted)
    wanted = linear_argmax(x, table, bias, dim=dim, backend="reference")
    assert torch.equal(linear_argmax(x, table, bias, dim=dim), wanted)


def undecided(x: Tensor, table: Tensor, parts: int = decide.ONE) -> int:
    """Rows that a fast pass leaves to the next one."""
    rows, out = rows_of(x, 1), torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return int(certified._fast_pass(rows, split_codes(table, None, True), out, parts, None).count)


@pytest.mark.parametrize(("rows", "codes", "features"), [(1, 1, 1), (35, 19, 3), (20, 70, 300)])
def test_against_the_reference(
    architecture: Architecture, device: torch.device, rows: int, codes: int, features: int
) -> None:
    x, table = gaussian(rows, features).to(device), gaussian(codes, features, seed=1).to(device)
    assert_as_reference(x, table, gaussian(codes, seed=2).to(device))


def test_rows_near_their_codes_are_decided_by_the_first_pass(device: torch.device) -> None:
    table = gaussian(60, 32).to(device)
    x = table[torch.arange(0, 60, 2)] + 0.1 * gaussian(30, 32, seed=1).to(device)
    assert undecided(x, table) == 0
    assert nearest_code(x, table).tolist() == list(range(0, 60, 2))


def test_each_pass_leaves_fewer_rows(device: torch.device) -> None:
    """Codes in pairs 2^-7 apart in one of 16 features: float16 cannot decide most rows, two float16 parts can."""
    base = gaussian(20, 16)
    table = torch.cat([base, base + 2.0**-7 * (torch.arange(16) == 3)]).to(device)
    x = (base + 0.3 * gaussian(20, 16, seed=1)).to(device)
    first, second = undecided(x, table), undecided(x, table, decide.TWO)
    assert first > 10 and second < first / 4
    assert_as_reference(x, table)


def test_equal_and_nearly_equal_codes(architecture: Architecture, device: torch.device) -> None:
    base = gaussian(9, 24)
    close = base * (1 + 2.0**-22)
    table = torch.cat([close, base, base])[torch.randperm(27, generator=seeded(2))].to(device)
    x = (base.repeat(3, 1) + 0.2 * gaussian(27, 24, seed=3)).to(device)
    assert undecided(x, table) == 27
    assert_as_reference(x, table)
    index = nearest_code(x, table)
    first = (table[index][:, None] == table[None]).all(2).to(torch.uint8).argmax(1)
    assert torch.equal(index, first)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 3e4, 1e15])
def test_scales_that_float16_cannot_hold(device: torch.device, scale: float) -> None:
    x, table = (scale * gaussian(20, 9)).to(device), (scale * gaussian(33, 9, seed=1)).to(device)
    assert_as_reference(x, table, (scale * scale * gaussian(33, seed=2)).to(device))


def test_codes_far_from_the_origin(device: torch.device) -> None:
    table = gaussian(40, 8) + 1000
    chosen = torch.randint(0, 40, (30,), generator=seeded(1))
    x = table[chosen] + 0.01 * gaussian(30, 8, seed=2)
    assert torch.equal(nearest_code(x.to(device), table.to(device)).cpu(), chosen)


def test_nan_infinity_and_forbidden_codes(architecture: Architecture, device: torch.device) -> None:
    x = torch.tensor([[1.0, 0.0], [NAN, 0.0], [INF, 0.0], [-INF, 1.0], [0.0, INF]], device=device)
    weight = torch.tensor([[NAN, 0.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]], device=device)
    assert linear_argmax(x, weight).tolist() == [2, 0, 1, 3, 0]
    assert nearest_code(x, weight).tolist() == [1, 0, 1, 3, 0]
    x, weight = gaussian(20, 4).to(device), gaussian(6, 4, seed=1).to(device)
    for bias in ([0, -INF, 0, -INF, 0, 0], [0, INF, 0, INF, 0, 0], [-INF] * 6, [0, NAN, 0, 0, 1, 0]):
        given = torch.tensor([float(b) for b in bias], device=device)
        assert torch.equal(linear_argmax(x, weight, given), linear_argmax(x, weight, given, backend="reference"))


def test_codes_forbidden_by_finite_biases(device: torch.device) -> None:
    """The biases are below any score but not equal: among forbidden codes the largest score wins."""
    x, weight = gaussian(30, 16).to(device), gaussian(20, 16, seed=1).to(device)
    bias = torch.full((20,), -2e38, device=device)
    bias[7] = -1.2e38
    assert linear_argmax(x, weight, bias).tolist() == [7] * 30
    bias[3:5] = 0.0
    assert torch.equal(linear_argmax(x, weight, bias), linear_argmax(x, weight, bias, backend="reference"))


def test_features_anywhere(device: torch.device) -> None:
    x, table = gaussian(2, 8, 5, 7).to(device), gaussian(13, 8, seed=1).to(device)
    for view in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert_as_reference(view, table, dim=1)
    wide = gaussian(20, 30, seed=2).to(device)
    for rows in (wide[::2, 3:11], wide[:8].t(), wide[:1, :8].expand(5, 8)):
        assert_as_reference(rows, table)


def test_small_problems_take_one_pass(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certified, "SMALL_WORK", 2**22)
    monkeypatch.setattr(certified, "split_codes", None)  # would fail if it were called
    assert_as_reference(gaussian(30, 5).to(device), gaussian(11, 5, seed=1).to(device))
