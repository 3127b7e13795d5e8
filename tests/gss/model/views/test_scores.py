"""Scores of windows are averaged as a plain loop would, and hold no more memory than promised."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gss.config import InferenceConfig, as_config
from gss.model.views.predict import labels_and_margin
from gss.model.views.scores import STRIP, rescale, slide_scores, softmax_, whole_scores

CLASSES = 3
IMAGES = torch.randint(0, 256, (2, 3, 13, 18), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def local_scores(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores that depend on the pixel and on its place in the window."""
    assert tuple(images.shape[-2:]) == size
    rows, columns = torch.arange(size[0]).float()[:, None], torch.arange(size[1]).float()
    return images.float() + torch.stack([rows + columns, rows * columns, rows - columns])


@pytest.mark.parametrize(("crop", "stride"), [((8, 8), (4, 4)), ((5, 18), (5, 7)), ((6, 7), (1, 3)), ((13, 6), (9, 5))])
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_overlapping_windows_are_averaged(crop: tuple[int, int], stride: tuple[int, int], batch: int) -> None:
    total, count = torch.zeros(IMAGES.shape, dtype=torch.float64), torch.zeros(IMAGES.shape[-2:], dtype=torch.float64)
    tops, lefts = (
        {min(i, length - c) for i in range(0, length - c + s, s)}
        for length, c, s in zip((13, 18), crop, stride, strict=True)
    )
    for top in tops:
        for left in lefts:
            window = (..., slice(top, top + crop[0]), slice(left, left + crop[1]))
            total[window] += local_scores(IMAGES[window], crop)
            count[window] += 1
    found = slide_scores(local_scores, IMAGES, crop, stride, batch=batch, unaligned="stretch")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), total / count, rtol=1e-6, atol=1e-6)


def test_windows_reach_the_model_in_batches_of_one_size() -> None:
    shapes = []

    def score(images: Tensor, size: tuple[int, int]) -> Tensor:
        shapes.append((len(images), *size))
        return local_scores(images, size)

    slide_scores(score, IMAGES, (8, 8), (5, 5), batch=4)  # 2 x 3 windows of 2 images
    assert shapes == [(8, 8, 8), (4, 8, 8)]
    shapes.clear()
    # An image no larger than the window is scored once, as it is.
    found = slide_scores(score, IMAGES, (20, 18), (5, 5), unaligned="stretch")
    assert shapes == [(2, 13, 18)]
    assert torch.equal(found, local_scores(IMAGES, (13, 18)))


def test_unaligned_sides_are_padded_by_the_border_or_left_to_the_model() -> None:
    seen = []

    def score(images: Tensor, size: tuple[int, int]) -> Tensor:
        seen.append(images)
        return local_scores(images, size)

    expected = local_scores(IMAGES, (13, 18))
    assert torch.equal(whole_scores(score, IMAGES), expected)
    assert torch.equal(whole_scores(score, IMAGES, unaligned="stretch"), expected)
    assert seen[0].shape == (2, 3, 16, 20) and torch.equal(seen[0][..., :13, :18], IMAGES)
    assert torch.equal(seen[0][..., 15, :18], IMAGES[..., 12, :])
    assert seen[1] is IMAGES


def test_scores_of_another_shape_are_refused() -> None:
    for wrong in ((2, CLASSES, 16, 19), (1, CLASSES, 16, 20), (2, 16, 20)):
        with pytest.raises(ValueError, match=r"score: expected it to return \(2, K, 16, 20\), got"):
            whole_scores(lambda images, size, wrong=wrong: torch.zeros(wrong), IMAGES)


def test_half_precision_scores_are_summed_in_float32() -> None:
    # 3 * 1025 is odd and above 2048, so no float16 number.
    found = slide_scores(
        lambda images, size: torch.full((2, 1, *size), 1025.0, dtype=torch.float16), IMAGES, (8, 8), (1, 1)
    )
    assert found.dtype == torch.float32 and torch.equal(found, torch.full_like(found, 1025.0))


class Live(TorchDispatchMode):
    """Remembers the most bytes that tensors made under it held at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.views: Counter[tuple[int, int]] = Counter()  # Python tensors of each storage (address, bytes)
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                storage = (tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes())
                self.views[storage] += 1
                weakref.finalize(tensor, self.views.subtract, [storage])
        self.peak = max(self.peak, sum(size for (_, size), views in self.views.items() if views > 0))
        return out


def peak(call: Callable[[], object]) -> int:
    with Live() as live:
        call()
    return live.peak


def test_windows_need_one_set_of_planes_and_one_batch_of_scores() -> None:
    classes, images = 16, torch.zeros(1, 3, 64, 96)
    plane, window = 4 * 64 * 96, 4 * 16 * 16

    def score(images: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.zeros(len(images), classes, *size)

    for batch in (2, 8):
        # Beside class planes and image: a batch's scores with its pixels and the next ones', later the coverage.
        limit = (classes + 3) * plane + max(batch * (classes + 2 * 3) * window, 2 * plane)
        found = peak(lambda batch=batch: slide_scores(score, images, (16, 16), (8, 8), batch=batch))
        assert classes * plane < found <= limit


def test_labels_need_a_few_planes() -> None:
    scores = torch.rand(1, 64, 32, 32, generator=torch.Generator().manual_seed(0))
    assert peak(lambda: labels_and_margin(scores)) <= (64 + 6) * 4 * 32 * 32  # the scores are its input


def test_softmax_needs_a_strip() -> None:
    scores = torch.zeros(1, 8, 10 * STRIP, 16)
    assert peak(lambda: softmax_(scores)) <= 1.1 * scores.nbytes


def test_rescale_is_bilinear_between_pixel_centres() -> None:
    scores = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    assert rescale(scores, (1, 4)).flatten().tolist() == [0.0, 0.25, 0.75, 1.0]
    assert rescale(scores, (1, 2)) is scores


def test_softmax_by_strips_is_softmax() -> None:
    scores = torch.randn(2, 5, 2 * STRIP + 3, 7, generator=torch.Generator().manual_seed(0))
    expected = scores.softmax(1)
    found = softmax_(scores)
    assert found is scores and torch.equal(found, expected)


def test_the_lowest_class_wins_ties_and_the_margin_is_the_lead() -> None:
    scores = torch.tensor([[0.25, 0.5, 0.0, 0.1], [0.5, 0.5, 0.0, 0.2], [0.5, 0.0, 0.0, 0.7]]).reshape(1, 3, 1, 4)
    labels, margin = labels_and_margin(scores)
    assert labels.dtype == torch.uint8 and labels.flatten().tolist() == [1, 0, 0, 2]
    assert margin.dtype == torch.float32
    torch.testing.assert_close(margin.flatten(), torch.tensor([0.0, 0.0, 0.0, 0.5]))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 5, (2, 7, 9, 11), generator=generator).float()
    labels, margin = labels_and_margin(drawn)
    assert torch.equal(labels.long(), drawn.argmax(1))
    top = drawn.sort(1, descending=True).values
    assert torch.equal(margin, top[:, 0] - top[:, 1])


@pytest.mark.parametrize(("classes", "dtype"), [(1, torch.uint8), (255, torch.uint8), (256, torch.int32)])
def test_labels_are_as_narrow_as_the_classes_allow(classes: int, dtype: torch.dtype) -> None:
    scores = torch.zeros(1, classes, 2, 2)
    scores[:, -1] = 1
    labels, margin = labels_and_margin(scores)
    assert labels.dtype == dtype and labels.flatten().tolist() == [classes - 1] * 4
    assert margin.flatten().tolist() == [torch.inf if classes == 1 else 1.0] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "tiled"}, "mode: expected 'whole' or 'slide', got 'tiled' (str)"),
        ({"crop": (0, 8)}, "crop[0]: expected greater than or equal to 1, got 0 (int)"),
        ({"stride": 512}, "stride: expected a valid tuple, got 512 (int)"),
        ({"stride": (512, 800)}, "stride: expected at most the crop (768, 768), got (512, 800)"),
        ({"batch": 0}, "batch: expected greater than or equal to 1, got 0 (int)"),
        ({"box": (512,)}, "box[1]: expected a value, got (512,) (tuple)"),
        ({"scales": ()}, "scales: expected at least 1 item, not 0, got () (tuple)"),
        ({"scales": (1.0, -0.5)}, "scales[1]: expected greater than 0, got -0.5 (float)"),
        ({"unaligned": "crop"}, "unaligned: expected 'pad' or 'stretch', got 'crop' (str)"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        as_config(InferenceConfig, settings)
    assert str(error.value) == message
    with pytest.raises(ValueError, match=next(iter(settings))):
        InferenceConfig(**settings)
