import torch

from gss.model.maskige import Maskige
from gss.palette import Palette

PALETTE = Palette("three", ("a", "b", "c"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)), ignore_color=(9, 9, 9))


def test_decode_undoes_encode_and_ignored_pixels_get_the_ignore_color() -> None:
    labels = torch.tensor([[[0, 1, 2], [2, 255, 0]]], dtype=torch.uint8)
    maskige = Maskige(PALETTE)
    painted = maskige.encode(labels)
    assert painted.dtype == torch.float32
    assert torch.allclose(painted[0, :, 1, 1] * 255, torch.tensor([9.0, 9.0, 9.0]))
    decoded = maskige.decode(painted)
    known = labels != 255
    assert torch.equal(decoded.labels[known], labels[known])
    # A pure colour is half the distance to its nearest other colour away from the wall.
    assert torch.allclose(decoded.margin[known], torch.tensor(255 * 2**0.5 / 2))


def test_decode_resizes_to_any_size() -> None:
    labels = torch.tensor([[[0, 1], [2, 2]]], dtype=torch.uint8)
    maskige = Maskige(PALETTE)
    decoded = maskige.decode(maskige.encode(labels), size=(4, 4))
    assert torch.equal(decoded.labels, labels.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_the_palette_is_configuration_not_weights() -> None:
    assert not Maskige(PALETTE).state_dict()
