import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gsskernels import maskige_decode, maskige_encode
from tests.gsskernels.inputs import INTEGERS, seeded

pytestmark = pytest.mark.interpreted

IGNORE = (215.0, 216.0, 196.0)


@pytest.fixture
def palette() -> Tensor:
    return torch.tensor([[0, 0, 0], [255, 128, 7], [12, 200, 255], [90, 91, 92]], dtype=torch.uint8)


def painted(
    labels: Tensor, palette: Tensor, ignore_index: int = 255, ignore_color: tuple[float, ...] = IGNORE
) -> Tensor:
    """Pixel by pixel, in float64."""
    out = torch.empty(*labels.shape, 3, dtype=torch.float64)
    flat, colors = labels.flatten().tolist(), out.view(-1, 3)
    for i, label in enumerate(flat):
        known = 0 <= label < len(palette) and label != ignore_index
        colors[i] = palette[label].double() if known else torch.tensor(ignore_color, dtype=torch.float64)
    return out.movedim(-1, -3)


@pytest.mark.parametrize("label_dtype", INTEGERS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("palette_dtype", [torch.uint8, torch.int64, torch.float32])
def test_every_dtype(label_dtype: torch.dtype, dtype: torch.dtype, palette_dtype: torch.dtype, palette: Tensor) -> None:
    labels = torch.arange(2 * 5 * 7).view(2, 5, 7) % 9
    got = maskige_encode(labels.to(label_dtype), palette.to(palette_dtype), ignore_color=IGNORE, dtype=dtype)
    assert got.dtype == dtype and got.is_contiguous()
    assert torch.equal(got, painted(labels, palette).to(dtype))


def test_labels_outside_the_palette_get_the_ignore_colour(palette: Tensor) -> None:
    labels = torch.tensor([[-1, -128, 4, 255, 256, 2**40, -(2**40), 3]])
    assert torch.equal(maskige_encode(labels, palette, ignore_color=IGNORE), painted(labels, palette).float())


def test_int8_minus_one_is_not_label_255(palette: Tensor) -> None:
    labels = torch.tensor([[-1, 0]], dtype=torch.int8)
    got = maskige_encode(labels, palette, ignore_index=0, ignore_color=(1, 2, 3))
    assert got[:, 0].T.tolist() == [[1, 2, 3], [1, 2, 3]]


def test_the_ignore_index_wins_over_a_class_of_the_same_id(palette: Tensor) -> None:
    labels = torch.tensor([[0, 1, 2]])
    got = maskige_encode(labels, palette, ignore_index=1, ignore_color=IGNORE)
    assert torch.equal(got, painted(labels, palette, ignore_index=1).float())


def test_scale_and_shift_reach_the_ignore_colour_too(palette: Tensor) -> None:
    labels = torch.tensor([[0, 1, 2, 255]], dtype=torch.uint8)
    got = maskige_encode(labels, palette, scale=1 / 255, shift=-0.5, ignore_color=IGNORE)
    torch.testing.assert_close(got.double(), painted(labels, palette) / 255 - 0.5, rtol=0, atol=1e-7)


def test_uint8_rounds_and_clamps() -> None:
    labels = torch.tensor([[0, 1, 2, 3]])
    palette = torch.tensor([[-3.0, 0.49, 0.5], [1.5, 2.5, 254.6], [300.0, 255.4, 255.5], [0.0, 1.0, 2.0]])
    got = maskige_encode(labels, palette, dtype=torch.uint8)
    assert got[:, 0].T.tolist() == [[0, 0, 0], [2, 2, 255], [255, 255, 255], [0, 1, 2]]


@pytest.mark.parametrize("shape", [(5, 7), (0, 7), (5, 0), (0, 5, 7), (2, 3, 4, 5), (1, 1)])
def test_leading_dimensions_and_empty_maps(shape: tuple[int, ...], palette: Tensor) -> None:
    labels = torch.randint(0, 6, shape, generator=seeded())
    got = maskige_encode(labels, palette, ignore_color=IGNORE)
    assert got.shape == (*shape[:-2], 3, *shape[-2:])
    assert torch.equal(got, painted(labels, palette).float())


def test_strides_do_not_matter(palette: Tensor) -> None:
    labels = torch.randint(0, 6, (8, 10), generator=seeded())
    for view in (labels.t(), labels[::2, ::3], labels[:1].expand(4, 10)):
        assert torch.equal(maskige_encode(view, palette), maskige_encode(view.contiguous(), palette))


def test_more_than_256_classes() -> None:
    palette = torch.randint(0, 256, (300, 3), generator=seeded())
    labels = torch.arange(310).view(10, 31)
    assert torch.equal(
        maskige_encode(labels, palette, ignore_index=-1, ignore_color=IGNORE), painted(labels, palette, -1).float()
    )


def test_gradient_of_a_palette_sums_over_its_pixels() -> None:
    labels = torch.tensor([[[0, 1, 1, 2, 255, 7, 2]]], dtype=torch.uint8)
    palette = torch.rand(3, 3, generator=seeded()).requires_grad_()
    weights = torch.arange(21.0).view(1, 3, 1, 7)
    (maskige_encode(labels, palette, scale=2.0, ignore_index=2) * weights).sum().backward()
    wanted = torch.stack([2 * weights[0, :, 0, 0], 2 * weights[0, :, 0, 1:3].sum(1), torch.zeros(3)])
    assert palette.grad is not None and torch.equal(palette.grad, wanted)


def test_gradient_of_a_class_that_an_ignore_index_would_wrap_to() -> None:
    palette = torch.rand(256, 3, generator=seeded()).requires_grad_()
    labels = torch.full((2, 2), 255, dtype=torch.uint8)
    maskige_encode(labels, palette, ignore_index=-1).sum().backward()
    assert palette.grad[255].tolist() == [4.0] * 3 and float(palette.grad.sum()) == 12.0


@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data())
def test_decode_inverts_encode_where_colours_differ(data: st.DataObject) -> None:
    color = st.tuples(*[st.integers(0, 255)] * 3)
    palette = torch.tensor(data.draw(st.lists(color, min_size=1, max_size=40, unique=True)), dtype=torch.uint8)
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    ids = data.draw(st.lists(st.integers(0, len(palette) - 1), min_size=height * width, max_size=height * width))
    labels = torch.tensor(ids, dtype=torch.uint8).view(height, width)
    dtype = data.draw(st.sampled_from([torch.uint8, torch.float16, torch.bfloat16, torch.float32]))
    assert torch.equal(maskige_decode(maskige_encode(labels, palette, dtype=dtype), palette), labels)
