import pytest
import torch

from gss.config import VqganConfig, tokenizer_config
from gss.model.codec import MaskigeCodec, reconstruct
from gss.model.tokenizers.protocol import build_tokenizer
from gss.model.tokenizers.vqgan import Attention, Downsample, VqganTokenizer
from gss.palette import Palette

CONFIG = VqganConfig(
    codes=32, code_dim=6, channels=(8, 8, 16), blocks=1, attention_levels=(2,), latent_channels=5, groups=4
)


@pytest.fixture
def tokenizer() -> VqganTokenizer:
    torch.manual_seed(0)
    tokenizer = VqganTokenizer(CONFIG).eval()
    # Codes where the latents are, so that more than one is used.
    vectors = tokenizer.encode_vectors(torch.rand(2, 3, 16, 16)).movedim(1, -1).reshape(-1, 6)
    tokenizer.codebook.data.copy_(vectors)
    return tokenizer.requires_grad_(False)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (1, 1), (7, 13)])
def test_sizes_that_are_no_multiple_of_the_stride_are_padded_up(
    tokenizer: VqganTokenizer, height: int, width: int
) -> None:
    maskige = torch.rand(2, 3, height, width)
    tokens = tokenizer.encode(maskige)
    cells = (-(-height // 4), -(-width // 4))
    assert tokens.shape == (2, *cells) and tokens.dtype == torch.int64
    assert tokenizer.decode(tokens).shape == (2, 3, cells[0] * 4, cells[1] * 4)
    painted, again = tokenizer(maskige)
    assert painted.shape == maskige.shape and torch.equal(again, tokens)
    assert painted.min() >= 0 and painted.max() <= 1


def test_tokens_are_the_nearest_codes(tokenizer: VqganTokenizer) -> None:
    maskige = torch.rand(2, 3, 24, 20)
    distances = torch.cdist(tokenizer.encode_vectors(maskige).movedim(1, -1).double(), tokenizer.codebook.double())
    tokens = tokenizer.encode(maskige)
    assert torch.equal(tokens, distances.argmin(-1))
    torch.testing.assert_close(
        tokenizer.encode_logits(maskige).movedim(1, -1).double(), -(distances**2), atol=1e-3, rtol=1e-3
    )
    assert len(tokens.unique()) > 5


def test_tokens_and_vectors_decode_alike_and_vectors_have_a_gradient(tokenizer: VqganTokenizer) -> None:
    tokens = torch.randint(32, (1, 3, 5))
    vectors = tokenizer.codebook[tokens].permute(0, 3, 1, 2).clone().requires_grad_()
    painted = tokenizer.decode_vectors(vectors)
    assert torch.equal(painted.detach(), tokenizer.decode(tokens))
    painted.sum().backward()
    assert vectors.grad is not None and vectors.grad.abs().max() > 1e-4


def test_autocast_does_not_reach_inside(tokenizer: VqganTokenizer) -> None:
    maskige = torch.rand(1, 3, 32, 32)
    plain, tokens = tokenizer.encode_vectors(maskige), tokenizer.encode(maskige)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(tokenizer.encode_vectors(maskige), plain)
        assert tokenizer.decode(tokens).dtype == torch.float32


def test_attention_is_over_all_positions() -> None:
    torch.manual_seed(1)
    attention = Attention(8, 4)
    x = torch.randn(1, 8, 3, 5)
    order = torch.randperm(15)
    permuted = x.flatten(2)[..., order].reshape(1, 8, 3, 5)
    # Which position is where does not matter, so permuting goes through.
    wanted = attention(x).flatten(2)[..., order]
    torch.testing.assert_close(attention(permuted).flatten(2), wanted)


def test_downsampling_pads_below_and_on_the_right() -> None:
    downsample = Downsample(1)
    with torch.no_grad():
        downsample.conv.weight.fill_(1.0)
        downsample.conv.bias.zero_()
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    sums = [[x[0, 0, r : r + 3, c : c + 3].sum().item() for c in (0, 2)] for r in (0, 2)]
    assert downsample(x)[0, 0].tolist() == sums


def test_built_frozen_from_a_mapping() -> None:
    settings = {"type": "vqgan", "codes": 8, "channels": [8, 8], "groups": 4, "attention_levels": []}
    config = tokenizer_config(settings)
    assert config == VqganConfig(codes=8, channels=(8, 8), groups=4, attention_levels=())
    tokenizer = build_tokenizer(config)
    assert isinstance(tokenizer, VqganTokenizer) and not tokenizer.training
    assert tokenizer.stride == 2 and tokenizer.codes == 8 and tokenizer.codebook.shape == (8, 256)
    assert not any(p.requires_grad for p in tokenizer.parameters())


def test_as_a_codec(tokenizer: VqganTokenizer) -> None:
    palette = Palette("two", ("a", "b"), ((0, 0, 0), (255, 255, 255)))
    codec = MaskigeCodec(palette, tokenizer).eval()
    labels = torch.zeros(1, 21, 33, dtype=torch.uint8)
    labels[:, 9:] = 1
    outcome = reconstruct(codec, labels, scale=1)
    assert outcome.tokens.shape == (1, 6, 9) and outcome.labels.shape == labels.shape
    assert outcome.painted.shape == (1, 3, 21, 33)  # what the padding painted is cut off, and nothing is stretched
    assert torch.equal(outcome.painted, tokenizer(codec.maskige.encode(labels))[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (8, 10)}, r"channels: expected multiples of groups \(4\), got \[8, 10\]"),
        ({"channels": ()}, r"channels\n.*at least 1 item"),
        ({"attention_levels": (3,)}, r"attention_levels: expected 0\.\.1, got \[3\]"),
        ({"codes": 0}, r"codes\n.*greater than or equal to 1"),
    ],
)
def test_bad_sizes_are_named(changes: dict[str, object], message: str) -> None:
    settings = {"codes": 8, "channels": (8, 8), "groups": 4, "attention_levels": (), **changes}
    with pytest.raises(ValueError, match=message):
        VqganTokenizer(VqganConfig(**settings))


def test_wrong_shapes_are_named(tokenizer: VqganTokenizer) -> None:
    with pytest.raises(ValueError, match=r"maskige: expected \(B, 3, H, W\), got \(1, 4, 8, 8\)"):
        tokenizer.encode(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"tokens: expected integers \(B, h, w\), got torch.float32 \(1, 2, 2\)"):
        tokenizer.decode(torch.zeros(1, 2, 2))
