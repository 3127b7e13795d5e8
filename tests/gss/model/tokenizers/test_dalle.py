import pytest
import torch
from torch.nn import functional as F

from gss.config import DalleConfig
from gss.model.tokenizers.bands import in_row_bands
from gss.model.tokenizers.dalle import DalleTokenizer, map_pixels, unmap_pixels

CONFIG = DalleConfig(codes=32, encoder_width=8, decoder_width=8, code_dim=6, encoder_blocks=1, decoder_blocks=2)


@pytest.fixture
def tokenizer() -> DalleTokenizer:
    torch.manual_seed(0)
    tokenizer = DalleTokenizer(CONFIG).eval()
    for parameter in tokenizer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tokenizer


def test_pixel_mapping() -> None:
    x = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(map_pixels(x), torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(unmap_pixels(map_pixels(x)), x)
    assert unmap_pixels(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (23, 41)])
def test_sizes(tokenizer: DalleTokenizer, height: int, width: int) -> None:
    """Rows and columns beyond a multiple of 8 have no token, as in the official system."""
    maskige = torch.rand(2, 3, height, width)
    tokens = tokenizer.encode(maskige)
    cells = (height // 8, width // 8)
    assert tokens.shape == (2, *cells) and tokens.dtype == torch.int64
    painted, again = tokenizer(maskige)
    assert torch.equal(again, tokens)
    assert torch.equal(painted, tokenizer.decode(tokens))
    assert painted.shape == (2, 3, cells[0] * 8, cells[1] * 8) and painted.dtype == torch.float32
    assert painted.min() >= 0 and painted.max() <= 1


def test_tokens_are_the_argmax_of_the_logits(tokenizer: DalleTokenizer) -> None:
    maskige = torch.rand(2, 3, 40, 48)
    logits = tokenizer.encode_logits(maskige)
    assert logits.shape == (2, 32, 5, 6)
    assert torch.equal(tokenizer.encode(maskige), logits.argmax(1))
    assert len(logits.argmax(1).unique()) > 2


def test_tokens_vectors_and_weights_decode_alike(tokenizer: DalleTokenizer) -> None:
    tokens = torch.randint(32, (2, 3, 5))
    one_hot = F.one_hot(tokens, 32).permute(0, 3, 1, 2).float()
    painted = tokenizer.decode(tokens)
    torch.testing.assert_close(tokenizer.decode_weights(one_hot), painted, atol=1e-5, rtol=1e-5)
    vectors = tokenizer.codebook[tokens].permute(0, 3, 1, 2)
    torch.testing.assert_close(tokenizer.decode_vectors(vectors), painted, atol=0, rtol=0)
    assert painted.std() > 0.01


def test_straight_through_gradients_are_those_of_the_soft_codes(tokenizer: DalleTokenizer) -> None:
    logits = torch.randn(1, 32, 2, 2)
    hard = F.one_hot(logits.argmax(1), 32).permute(0, 3, 1, 2).float()

    weights = hard.clone().requires_grad_()
    (at_hard,) = torch.autograd.grad(tokenizer.decode_weights(weights).square().sum(), weights)
    leaf = logits.clone().requires_grad_()
    soft = leaf.softmax(1)
    painted = tokenizer.decode_weights(hard + soft - soft.detach())
    torch.testing.assert_close(painted, tokenizer.decode(logits.argmax(1)), atol=1e-5, rtol=1e-5)
    (got,) = torch.autograd.grad(painted.square().sum(), leaf)
    (wanted,) = torch.autograd.grad(logits.requires_grad_().softmax(1), logits, at_hard)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-4)
    assert got.abs().max() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(tokenizer: DalleTokenizer, dtype: torch.dtype) -> None:
    maskige, tokens = torch.rand(1, 3, 32, 32), torch.randint(32, (1, 4, 4))
    logits, painted = tokenizer.encode_logits(maskige), tokenizer.decode(tokens)
    tokenizer.set_precision(dtype)
    kept = {"encoder.output", "decoder.input"}
    for name, parameter in tokenizer.named_parameters():
        assert parameter.dtype == (torch.float32 if name.rsplit(".", 1)[0] in kept else dtype)
    # Each layer rounds its output once, relative to the largest value, and a dozen lie on the longest path.
    bound = 12 * torch.finfo(dtype).eps
    for got, exact in ((tokenizer.encode_logits(maskige), logits), (tokenizer.decode(tokens), painted)):
        assert got.dtype == torch.float32
        error = (got - exact).abs().max()
        assert 0 < error <= bound * exact.abs().max()
    assert torch.equal(tokenizer.encode(maskige), tokenizer.encode_logits(maskige).argmax(1))


def test_autocast_stays_outside(tokenizer: DalleTokenizer) -> None:
    maskige = torch.rand(1, 3, 32, 32)
    logits, (painted, tokens) = tokenizer.encode_logits(maskige), tokenizer(maskige)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer.encode_logits(maskige), logits)
        assert torch.equal(tokenizer.encode(maskige), tokens)
        assert torch.equal(tokenizer.decode(tokens), painted)


def test_the_residual_counts_the_blocks(tokenizer: DalleTokenizer) -> None:
    assert tokenizer.encoder.groups[0][0].gain == 1 / 4**2
    assert tokenizer.decoder.groups[3][1].gain == 1 / 8**2


def test_wrong_input_is_named(tokenizer: DalleTokenizer) -> None:
    with pytest.raises(ValueError, match=r"maskige: expected \(B, 3, H, W\), got \(1, 4, 8, 8\)"):
        tokenizer.encode(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match="sides of at least 8 pixels"):
        tokenizer.encode_logits(torch.zeros(1, 3, 7, 8))
    with pytest.raises(ValueError, match=r"tokens: expected integers \(B, h, w\), got torch.float32"):
        tokenizer.decode(torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="dtype: expected a floating dtype"):
        tokenizer.set_precision(torch.int8)
    with pytest.raises(ValueError, match=r"codes\n.*greater than or equal to 1"):
        DalleTokenizer(DalleConfig(codes=0))
    with pytest.raises(ValueError, match=r"encoder_width\n.*greater than or equal to 4"):
        DalleTokenizer(DalleConfig(encoder_width=3))


@torch.no_grad()
@pytest.mark.parametrize("size", [(96, 40), (91, 24), (8, 8)])
@pytest.mark.parametrize("budget", [1, 8 * 40 * 4 * 9])
def test_bands_of_rows_give_what_the_whole_map_does(
    tokenizer: DalleTokenizer, size: tuple[int, int], budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    maskige = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    features, logits = tokenizer.encoder.features(map_pixels(maskige)), tokenizer.encode_logits(maskige)
    tokens = tokenizer.encode(maskige)
    painted = tokenizer.decode(tokens)
    monkeypatch.setattr("gss.model.tokenizers.bands.BAND_BYTES", budget)
    assert torch.allclose(tokenizer.encoder.features(map_pixels(maskige)), features, atol=1e-5)
    assert torch.allclose(tokenizer.encode_logits(maskige), logits, atol=1e-5)
    assert torch.equal(tokenizer.encode(maskige), tokens)
    assert torch.allclose(tokenizer.decode(tokens), painted, atol=1e-5)


def test_gradients_pass_whatever_the_bands(tokenizer: DalleTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.rand(1, tokenizer.codes, 6, 5).softmax(1).requires_grad_()
    (expected,) = torch.autograd.grad(tokenizer.decode_weights(weights).sum(), weights)
    monkeypatch.setattr("gss.model.tokenizers.bands.BAND_BYTES", 1)
    (got,) = torch.autograd.grad(tokenizer.decode_weights(weights).sum(), weights)
    assert torch.equal(got, expected)


def test_the_layers_that_touch_the_tokens_are_never_rounded() -> None:
    torch.manual_seed(1)
    tokenizer = DalleTokenizer(CONFIG)
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    tokenizer.set_precision(torch.float16)
    for name, value in tokenizer.state_dict().items():
        kept = name.startswith(("encoder.output.", "decoder.input."))
        assert value.dtype == (torch.float32 if kept else torch.float16)
        assert torch.equal(value, before[name] if kept else before[name].half())


@torch.no_grad()
def test_each_image_of_a_batch_has_bands_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a band do not get fewer with the batch, or most of the work would be done twice."""
    calls: list[tuple[int, ...]] = []

    def layers(x: torch.Tensor) -> torch.Tensor:
        calls.append(tuple(x.shape))
        return 2 * x

    monkeypatch.setattr("gss.model.tokenizers.bands.BAND_BYTES", 1000)
    x = torch.randn(3, 2, 100, 4)
    assert torch.equal(in_row_bands(layers, x, halo=2, row_bytes=20), 2 * x)
    assert calls == [(1, 2, 52, 4), (1, 2, 52, 4)] * 3
    calls.clear()
    last = x.contiguous(memory_format=torch.channels_last)
    assert in_row_bands(layers, last, halo=2, row_bytes=20).is_contiguous(memory_format=torch.channels_last)
    calls.clear()
    in_row_bands(layers, x, halo=2, row_bytes=3)
    assert calls == [(3, 2, 100, 4)]
