import gc
import weakref

import pytest
import torch

from gss.model.swin import SwinBlock, WindowAttention, _shift_mask


def test_window_attention_equals_the_formula() -> None:
    torch.manual_seed(0)
    module = WindowAttention(8, 2, 3).double()
    windows = torch.randn(4, 9, 8, dtype=torch.float64)
    query, key, value = module.qkv(windows).split(8, -1)
    expected = torch.empty_like(windows)
    for b in range(4):
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = query[b, :, part] @ key[b, :, part].T / 4**0.5
            for i in range(9):
                for j in range(9):
                    dy, dx = i // 3 - j // 3 + 2, i % 3 - j % 3 + 2
                    scores[i, j] += module.relative_position_bias_table[5 * dy + dx, head]
            expected[b, :, part] = scores.softmax(-1) @ value[b, :, part]
    assert torch.allclose(module(windows, None), module.proj(expected))


def test_shifted_windows_do_not_mix_what_the_roll_brought_together() -> None:
    """Changing one token may only change tokens of the same window of the shifted grid."""
    torch.manual_seed(0)
    block = SwinBlock(4, 1, 4, shift=2).eval()
    x = torch.randn(1, 8, 8, 4)
    changed = x.clone()
    changed[0, 0, 0] = torch.randn(4)
    moved = (block(x) - block(changed)).abs().sum(-1)[0] > 1e-6
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:2, :2] = True  # the corner window that the shift cuts down to 2x2
    assert torch.equal(moved, expected)


def test_shift_mask_separates_regions() -> None:
    mask = _shift_mask((4, 4), 2, 1, range(4), torch.device("cpu"))
    assert mask.shape == (4, 4, 4)
    assert (mask[0] == 0).all()  # the top left window is whole
    assert (mask[3] == -100).sum() == 12  # the bottom right one holds four corners of the image


@pytest.mark.parametrize("shift", [0, 1])
def test_any_size_keeps_its_shape(shift: int) -> None:
    block = SwinBlock(4, 2, 3, shift)
    for height, width in ((1, 1), (3, 3), (5, 7)):
        assert block(torch.randn(2, height, width, 4)).shape == (2, height, width, 4)


def test_heads_have_to_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="swin_heads: expected a divisor of 8 channels, got 3"):
        WindowAttention(8, 3, 7)


@torch.no_grad()
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [(11, 7), (9, 9), (2, 5)])
def test_bands_of_rows_give_what_the_whole_map_does(
    shift: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 2, 3, shift)
    x = torch.randn(2, *size, 8)
    whole = block(x)
    for values in (1, 2 * 9 * 8 * 6):
        monkeypatch.setattr("gss.model.swin.BAND_VALUES", values)
        assert torch.allclose(block(x), whole, atol=1e-6)


@pytest.mark.parametrize("shift", [0, 1])
def test_bands_of_rows_have_the_gradients_of_the_whole_map(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 2, 3, shift)
    x = torch.randn(2, 11, 7, 8, requires_grad=True)
    weight = torch.randn(2, 11, 7, 8)
    inputs = [x, *block.parameters()]
    expected = torch.autograd.grad((block(x) * weight).sum(), inputs)
    monkeypatch.setattr("gss.model.swin.BAND_VALUES", 1)
    got = torch.autograd.grad((block(x) * weight).sum(), inputs)
    assert all(torch.allclose(g, e, atol=1e-5) for g, e in zip(got, expected, strict=True))


def test_nothing_of_a_forward_pass_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that is run again in the backward pass must not hold on to the map it was defined beside."""
    monkeypatch.setattr("gss.model.swin.BAND_VALUES", 1)
    block = SwinBlock(8, 2, 3, 1)
    seen: list[weakref.ref] = []
    roll = torch.Tensor.roll

    def watched(self, *arguments):
        result = roll(self, *arguments)
        seen.append(weakref.ref(result))
        return result

    monkeypatch.setattr(torch.Tensor, "roll", watched)
    y = block(torch.randn(1, 9, 9, 8, requires_grad=True))
    assert len(seen) == 2
    del y
    gc.collect()
    assert all(reference() is None for reference in seen)
