import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gsskernels import confusion_matrix, maskige_decode, maskige_evaluate
from tests.gsskernels.inputs import seeded

pytestmark = pytest.mark.interpreted


def counted(prediction: torch.Tensor, target: torch.Tensor, num_classes: int, ignore_index: int) -> torch.Tensor:
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
        if t != ignore_index and 0 <= t < num_classes and 0 <= p < num_classes:
            matrix[t, p] += 1
    return matrix


@pytest.mark.parametrize("dtypes", [(torch.uint8, torch.uint8), (torch.int32, torch.int64), (torch.int8, torch.int16)])
@pytest.mark.parametrize("ignore_index", [255, 0, -1])
def test_against_counting(dtypes: tuple[torch.dtype, torch.dtype], ignore_index: int) -> None:
    generator = seeded()
    prediction = torch.randint(0, 7, (2, 11, 13), generator=generator).to(dtypes[0])
    target = torch.randint(-1, 7, (2, 11, 13), generator=generator).to(dtypes[1])
    got = confusion_matrix(prediction, target, 5, ignore_index=ignore_index)
    assert got.dtype == torch.int64
    assert torch.equal(got, counted(prediction, target, 5, ignore_index))


def test_rows_are_the_target() -> None:
    assert confusion_matrix(torch.tensor([1, 1]), torch.tensor([0, 1]), 2).tolist() == [[0, 1], [0, 1]]


def test_nothing_to_count() -> None:
    assert confusion_matrix(torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.uint8), 3).sum() == 0
    assert confusion_matrix(torch.tensor([0, 1]), torch.tensor([255, 255]), 3).sum() == 0
    assert confusion_matrix(torch.tensor([0, 0]), torch.tensor([0, 5]), 1).tolist() == [[1]]


def test_negative_predictions_do_not_land_in_the_row_above() -> None:
    assert confusion_matrix(torch.tensor([-1, 3]), torch.tensor([1, 1]), 3).sum() == 0


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    pairs=st.lists(st.tuples(st.integers(-3, 300), st.integers(-3, 300)), max_size=60),
    num_classes=st.integers(1, 280),
)
def test_any_ids(pairs: list[tuple[int, int]], num_classes: int) -> None:
    prediction, target = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)
    assert torch.equal(confusion_matrix(prediction, target, num_classes), counted(prediction, target, num_classes, 255))


@pytest.mark.parametrize("resize", ["vote", "rgb"])
@pytest.mark.parametrize("size", [(12, 10), (24, 20), (7, 31)])
def test_evaluate_is_decode_then_count(resize: str, size: tuple[int, int]) -> None:
    generator = seeded(4)
    palette = torch.randint(0, 256, (6, 3), generator=generator)
    maskige = torch.rand(2, 3, 12, 10, generator=generator) * 255
    target = torch.randint(0, 8, (2, *size), generator=generator)
    target = torch.where(target == 7, 255, target).to(torch.uint8)
    labels = maskige_decode(maskige, palette, size=size, resize=resize)
    assert torch.equal(maskige_evaluate(maskige, palette, target, resize=resize), counted(labels, target, 6, 255))


def test_evaluate_against_the_official_chain() -> None:
    """Distances, one-hot planes, bilinear at 2x (where no weight is rounded), argmax."""
    generator = seeded(5)
    palette = torch.randint(0, 256, (9, 3), generator=generator)
    maskige = torch.rand(2, 3, 8, 6, generator=generator) * 255
    target = torch.randint(0, 9, (2, 16, 12), generator=generator)
    small = ((maskige[:, None] - palette[:, :, None, None]) ** 2).sum(2).argmin(1)
    planes = F.one_hot(small, 9).permute(0, 3, 1, 2).float()
    labels = F.interpolate(planes, (16, 12), mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(maskige_evaluate(maskige, palette, target), counted(labels, target, 9, 255))


def test_evaluate_of_no_images() -> None:
    palette = torch.tensor([[0, 0, 0], [1, 1, 1]])
    assert (
        maskige_evaluate(torch.empty(0, 3, 4, 4), palette, torch.empty(0, 8, 8, dtype=torch.uint8)).tolist()
        == [[0, 0]] * 2
    )
