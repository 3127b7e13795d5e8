"""maskige_encode in Triton, bit for bit against the reference.

The interpreter truncates to bfloat16 where a GPU rounds, so there bfloat16 paints colours that it represents exactly.
"""

import pytest
import torch
from torch import Tensor

from gsskernels import maskige_encode
from gsskernels.triton import INTERPRETED, encode
from tests.gsskernels.inputs import INTEGERS, seeded

OUTPUTS = [torch.uint8, torch.float16, torch.bfloat16, torch.float32]


def assert_same(labels: Tensor, palette: Tensor, **options: object) -> None:
    got = maskige_encode(labels, palette, **options)
    wanted = maskige_encode(labels, palette, backend="reference", **options)
    assert got.dtype == wanted.dtype and got.is_contiguous() and torch.equal(got, wanted)


# K + 1 rows in tables of 2, 4, 32, 256, 512 and none at all (more than MOST_IN_TABLE).
@pytest.mark.parametrize("num_classes", [1, 2, 19, 150, 300, 1500])
@pytest.mark.parametrize("dtype", OUTPUTS)
def test_table_sizes(device: torch.device, num_classes: int, dtype: torch.dtype) -> None:
    palette = (torch.rand(num_classes, 3, generator=seeded()) * 300 - 20).to(device)
    labels = torch.randint(-2, num_classes + 3, (2, 13, 17), generator=seeded()).to(device)
    options = {"dtype": dtype, "ignore_color": (1.5, -4, 300)}
    assert_same(labels, palette.round().clamp(0, 255), ignore_index=0, **options)
    if dtype is not torch.bfloat16 or not INTERPRETED:
        assert_same(labels, palette, scale=1 / 3, shift=0.1, **options)


@pytest.mark.parametrize("label_dtype", INTEGERS)
@pytest.mark.parametrize(
    "palette_dtype", [torch.uint8, torch.int8, torch.int64, torch.float16, torch.float32, torch.float64]
)
def test_dtypes(device: torch.device, label_dtype: torch.dtype, palette_dtype: torch.dtype) -> None:
    palette = torch.randint(0, 127, (19, 3), generator=seeded()).to(device, palette_dtype)
    labels = torch.randint(-3, 23, (3, 9, 11), generator=seeded()).to(label_dtype)
    labels[0, 0, :3] = torch.tensor([100, 18, 19]).to(label_dtype)
    for ignore_index in (100, 18, -1, 2**40):
        assert_same(labels.to(device), palette, scale=0.3, ignore_index=ignore_index)


def test_labels_far_outside_do_not_wrap_around(device: torch.device) -> None:
    labels = torch.tensor([[2**40, 2**32, -(2**33) + 1, 2**31, 256, 1]], device=device)
    assert_same(labels, torch.arange(12, device=device).view(4, 3))


def test_uint8_rounds_halves_to_even_and_clamps(device: torch.device) -> None:
    values = [-3.0, 0.49, 0.5, 1.5, 2.5, 254.5, 254.6, 255.4, 255.5, 300.0, 1e30, float("inf"), -float("inf")]
    palette = torch.tensor(values, device=device)[:, None].expand(-1, 3)
    assert_same(torch.arange(len(values), device=device)[None], palette, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_strides(device: torch.device, dtype: torch.dtype) -> None:
    labels = torch.randint(0, 21, (3, 24, 30), generator=seeded()).to(device)
    palette = torch.randint(0, 256, (3, 20), generator=seeded()).to(device).t()
    views = (
        labels.transpose(1, 2),
        labels[:, ::3, 1::2],
        labels[:, :, :1].expand(3, 24, 11),
        labels[:1].expand(4, -1, -1),
        labels[0],
        labels[:, :, 2:3],
        labels[:, :1],
        labels[:, None].transpose(0, 1),
        labels.view(3, 4, 6, 30).transpose(0, 1),
        labels.view(3, 4, 6, 30)[:, ::2].permute(2, 1, 3, 0),
    )
    for view in views:
        assert_same(view, palette, dtype=dtype)


def test_more_than_one_block_of_a_line(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "NUM_WARPS", 1)
    labels = torch.randint(0, 21, (2, 33, 35), generator=seeded()).to(device)
    palette = torch.randint(0, 256, (20, 3), generator=seeded()).to(device)
    for dtype in OUTPUTS:
        assert_same(labels, palette, dtype=dtype)
        assert_same(labels.transpose(1, 2), palette, dtype=dtype)


@pytest.mark.parametrize("shape", [(0, 7), (5, 0), (0, 5, 7), (2, 0, 4, 5)])
def test_empty_maps(device: torch.device, shape: tuple[int, ...]) -> None:
    assert_same(torch.zeros(shape, dtype=torch.uint8, device=device), torch.zeros(3, 3, device=device))
