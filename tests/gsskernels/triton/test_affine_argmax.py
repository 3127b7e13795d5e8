"""One pass over half precision or tf32 operands. test_certified.py tests float32 operands."""

import pytest
import torch
from torch import Tensor

from gsskernels import linear_argmax, nearest_code, reference
from gsskernels.triton import affine_argmax, launch
from gsskernels.triton.plan import SM_80, SM_86, SM_90, SM_100, Architecture, Config
from tests.gsskernels.inputs import INF, NAN, gaussian, seeded


@pytest.fixture(params=[SM_80, SM_90], ids=["pointers", "descriptors"])
def architecture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    monkeypatch.setattr(launch, "stand_in", request.param)
    return request.param


@pytest.fixture(params=[torch.float16, torch.bfloat16])
def dtype(request: pytest.FixtureRequest, device: torch.device) -> torch.dtype:
    if request.param is torch.bfloat16 and device.type == "cpu":
        pytest.skip("Triton's interpreter multiplies bfloat16 wrongly; a GPU runs this test")
    return request.param


def assert_best(index: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """The score in float64 is within the documented rounding of a float32 sum of the best one."""
    x, weight = x.double().cpu(), weight.double().cpu()
    bias = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias.double().cpu()
    scores = x @ weight.T + bias
    slack = (x.shape[1] + 2) * 2.0**-23 * (x.norm(dim=1) * weight.norm(dim=1).max() + bias.abs().max())
    assert bool((scores.amax(1) - scores.gather(1, index.cpu()[:, None])[:, 0] <= slack).all())


# D of one padded block, of several, odd and beyond what stays resident; V below a tile, odd, and of several tiles.
@pytest.mark.parametrize(("rows", "codes", "features"), [(1, 1, 1), (67, 19, 3), (33, 150, 65), (20, 70, 300)])
@pytest.mark.parametrize("biased", [False, True])
def test_half_precision(
    architecture: Architecture,
    device: torch.device,
    dtype: torch.dtype,
    rows: int,
    codes: int,
    features: int,
    biased: bool,
) -> None:
    x, table = gaussian(rows, features).to(device, dtype), gaussian(codes, features, seed=1).to(device, dtype)
    bias = gaussian(codes, seed=2).to(device, dtype) if biased else None
    assert_best(nearest_code(x, table), x, table, -0.5 * table.double().square().sum(1))
    assert_best(linear_argmax(x, table, bias), x, table, bias)


@pytest.mark.parametrize(("codes", "features"), [(19, 3), (150, 40)])
def test_tf32_is_the_nearest_rounded_code(
    architecture: Architecture, device: torch.device, codes: int, features: int
) -> None:
    x, table = gaussian(50, features).to(device), gaussian(codes, features, seed=1).to(device)
    found = nearest_code(x, table, precision="tf32")
    assert torch.equal(found, nearest_code(x, table, precision="tf32", backend="reference"))


@pytest.mark.parametrize("splits", [1, 2, 5])
def test_splits_do_not_show(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, splits: int, architecture: Architecture
) -> None:
    x, table = gaussian(40, 8).half().to(device), gaussian(75, 8, seed=1).half().to(device)
    config = Config(block_rows=32, block_codes=16, block_features=16)
    monkeypatch.setattr(affine_argmax, "plan_argmax", lambda *_: (config, splits))
    assert torch.equal(nearest_code(x, table), nearest_code(x, table, backend="reference"))


def test_ties_go_to_the_lowest_index_across_tiles_and_splits(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = gaussian(7, 16)
    table = base.repeat(8, 1)[torch.randperm(56, generator=seeded(3))].half().to(device)
    x = gaussian(45, 16, seed=4).half().to(device)
    monkeypatch.setattr(affine_argmax, "plan_argmax", lambda *_: (Config(16, 16, 16), 3))
    index = nearest_code(x, table)
    first = (table[index][:, None] == table[None]).all(2).to(torch.uint8).argmax(1)
    assert torch.equal(index, first)


def test_nan_loses_and_infinities_count(architecture: Architecture, device: torch.device) -> None:
    x = torch.tensor([[1.0, 0.0], [NAN, 0.0], [INF, 0.0], [-INF, 1.0], [0.0, INF]]).half().to(device)
    weight = torch.tensor([[NAN, 0.0], [1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]).half().to(device)
    assert linear_argmax(x, weight).tolist() == [2, 0, 1, 3, 0]
    assert nearest_code(x, weight).tolist() == [1, 0, 1, 3, 0]
    forbidden = torch.full((4,), -INF, device=device)
    assert linear_argmax(x[:1], weight, forbidden).tolist() == [1]  # code 0 scores NaN, the others -inf alike


def test_features_anywhere_without_a_copy(architecture: Architecture, device: torch.device) -> None:
    x, table = gaussian(2, 8, 5, 7).half().to(device), gaussian(13, 8, seed=1).half().to(device)
    wanted = nearest_code(x.permute(0, 2, 3, 1), table, backend="reference")
    for view in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert torch.equal(nearest_code(view, table, dim=1), wanted)
    wide = gaussian(20, 30, seed=2).half().to(device)
    for rows in (wide[::2, 3:11], wide[:8].t(), wide[:1, :8].expand(5, 8)):
        assert torch.equal(nearest_code(rows, table), nearest_code(rows, table, backend="reference"))
    columns = gaussian(8, 26, seed=3).half().to(device).t()[::2]
    assert torch.equal(nearest_code(wide[:, :8], columns), nearest_code(wide[:, :8], columns, backend="reference"))


def test_nothing_to_do(device: torch.device) -> None:
    table = gaussian(5, 3).half().to(device)
    assert nearest_code(torch.empty(0, 3, dtype=torch.float16, device=device), table).shape == (0,)
    assert linear_argmax(torch.empty(2, 3, 0, 4, dtype=torch.float16, device=device), table, dim=1).shape == (2, 0, 4)
    empty = torch.ones(2, 0, device=device), torch.ones(3, 0, device=device)
    assert linear_argmax(*empty, torch.tensor([0.0, 2.0, 1.0], device=device)).tolist() == [1, 1]
    half = [t.half() for t in empty]
    assert linear_argmax(*half, torch.tensor([0.0, 2.0, 1.0], device=device)).tolist() == [1, 1]


def test_float64_is_the_reference(device: torch.device) -> None:
    x, table = gaussian(9, 4).double().to(device), gaussian(6, 4, seed=1).double().to(device)
    assert torch.equal(nearest_code(x, table), reference.nearest_code(x, table, 1, None))


@pytest.mark.parametrize("architecture", [SM_80, SM_86, SM_90, SM_100], ids=["80", "86", "90", "100"])
def test_every_planned_configuration_fits(architecture: Architecture) -> None:
    """Launches recorded on tensors without data: no tile extends beyond the padding of the bias."""
    shapes = [(73728, 8192, 256), (73728, 8192, 2048), (9216, 512, 32), (1, 1, 1), (100, 300, 100)]
    for rows, codes, features in shapes:
        x = torch.empty(rows, features, dtype=torch.bfloat16, device="meta")
        table = torch.empty(codes, features, dtype=torch.bfloat16, device="meta")
        with launch.record(architecture) as launches:
            affine_argmax.nearest_code(x, table, 1, None)
        kernel = next(found for found in launches if found.kernel.__name__ == "_argmax_kernel")
        assert kernel.arguments["BLOCK_CODES"] <= 256
        assert kernel.grid[0] == -(-rows // kernel.arguments["BLOCK_ROWS"]) * kernel.arguments["splits"]
