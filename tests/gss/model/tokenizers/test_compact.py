import pytest
import torch

from gss.config import CompactConfig
from gss.model.maskige import Maskige
from gss.model.tokenizers.compact import CompactTokenizer
from gss.palette import Palette

CONFIG = CompactConfig(stride=4, codes=16, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (1, 1), (7, 13)])
def test_sizes_that_are_no_multiple_of_the_stride_are_padded_up(height: int, width: int) -> None:
    tokenizer = CompactTokenizer(CONFIG).eval()
    maskige = torch.rand(2, 3, height, width)
    tokens = tokenizer.encode(maskige)
    cells = (-(-height // 4), -(-width // 4))
    assert tokens.shape == (2, *cells)
    assert tokens.dtype == torch.int64
    assert tokenizer.decode(tokens).shape == (2, 3, cells[0] * 4, cells[1] * 4)
    painted, quantized = tokenizer(maskige)
    assert painted.shape == maskige.shape
    assert torch.equal(quantized.tokens, tokens)
    assert painted.min() >= 0 and painted.max() <= 1


def test_decode_of_tokens_is_decode_of_their_codes() -> None:
    tokenizer = CompactTokenizer(CONFIG).eval()
    tokens = torch.randint(16, (1, 3, 5))
    codes = tokenizer.quantizer.codebook[tokens].permute(0, 3, 1, 2)
    assert torch.equal(tokenizer.decode(tokens), tokenizer.decode_vectors(codes))


def test_wrong_channels_are_named() -> None:
    with pytest.raises(ValueError, match=r"maskige: expected \(B, 3, H, W\), got \(1, 4, 8, 8\)"):
        CompactTokenizer(CONFIG).encode(torch.zeros(1, 4, 8, 8))


def test_learns_to_reconstruct_label_maps() -> None:
    """Half-planes in four classes: after a few seconds nearly every pixel comes back."""
    torch.manual_seed(0)
    palette = Palette("four", ("a", "b", "c", "d"), ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)))
    maskige = Maskige(palette)
    config = CompactConfig(stride=2, codes=64, code_dim=8, width=24, encoder_blocks=1, decoder_blocks=1)
    tokenizer = CompactTokenizer(config).train()
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=5e-3)

    def label_maps(count: int) -> torch.Tensor:
        ys, xs = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        edge = torch.randint(4, 28, (count, 1, 1))
        other = torch.randint(0, 4, (count, 2, 1, 1))
        across = torch.rand(count, 1, 1) < 0.5
        return torch.where(torch.where(across, xs, ys) < edge, other[:, 0], other[:, 1])

    for _ in range(120):
        target = maskige.encode(label_maps(8))
        painted, quantized = tokenizer(target)
        loss = (painted - target).square().sum(1).mean() + 0.25 * quantized.commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokenizer.eval()
    labels = label_maps(16)
    decoded = maskige.decode(tokenizer.decode(tokenizer.encode(maskige.encode(labels)))).labels
    assert (decoded == labels).float().mean() > 0.97
