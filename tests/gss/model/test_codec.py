import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config import DalleConfig, InverseConfig
from gss.evaluation.ceiling import ceiling
from gss.model.codec import MaskigeCodec, reconstruct
from gss.model.tokenizers.protocol import build_tokenizer
from gss.palette import Palette

PALETTE = Palette.named("camvid")
DALLE = DalleConfig(codes=32, encoder_width=8, decoder_width=8, code_dim=6, encoder_blocks=1, decoder_blocks=1)


@pytest.fixture(scope="module")
def codec() -> MaskigeCodec:
    torch.manual_seed(0)
    return MaskigeCodec(PALETTE, build_tokenizer(DALLE)).eval()


def labels(height: int, width: int) -> Tensor:
    result = torch.randint(11, (2, height, width), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    result[:, :3] = 255
    return result


def test_scale_one_is_the_official_evaluation(codec: MaskigeCodec) -> None:
    """Colours with the ignore colour, sides floored to whole tokens, stretched back as one-hot votes."""
    target = labels(43, 61)
    painted = codec.maskige.encode(target)
    tokens = codec.tokenizer.encode(painted)
    assert tokens.shape == (2, 5, 7)
    classes = codec.maskige.decode(codec.tokenizer.decode(tokens)).labels.long()
    votes = F.interpolate(F.one_hot(classes, 11).movedim(-1, 1).float(), size=(43, 61), mode="bilinear")
    result = reconstruct(codec, target, scale=1)
    assert torch.equal(result.tokens, tokens)
    assert torch.equal(result.labels.long(), votes.argmax(1))
    assert torch.equal(result.target, target)


def test_scale_two_paints_twice_as_large_and_so_does_the_model_itself(codec: MaskigeCodec) -> None:
    target = labels(40, 48)
    twice = reconstruct(codec, target, scale=2)
    assert twice.tokens.shape == (2, 10, 12) and twice.target.shape == (2, 80, 96)
    assert torch.equal(twice.target, target.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert torch.equal(reconstruct(codec, target).labels, twice.labels)
    assert reconstruct(codec, labels(41, 46)).tokens.shape == (2, 11, 12)


def test_a_box_resizes_there_and_back(codec: MaskigeCodec) -> None:
    target = labels(32, 64)
    boxed = reconstruct(codec, target, scale=1, box=(16, 128))
    assert boxed.target.shape == (2, 16, 32)
    assert torch.equal(boxed.target, target[:, ::2, ::2])
    with torch.inference_mode():
        votes = codec.maskige.votes(boxed.painted, (16, 32))
        wanted = F.interpolate(votes, size=(32, 64), mode="bilinear").argmax(1)
    assert torch.equal(boxed.labels.long(), wanted)


def test_a_learned_inverse_takes_the_place_of_the_nearest_colour(tmp_path) -> None:
    torch.manual_seed(0)
    config = InverseConfig(type="convolution", channels=8)
    codec = MaskigeCodec(PALETTE, build_tokenizer(DALLE), config).eval()
    result = reconstruct(codec, labels(16, 24), scale=1)
    with torch.inference_mode():
        assert torch.equal(result.labels, codec.inverse.decode(result.painted).labels)
    assert 0 <= ceiling(codec, Labels(tmp_path), scale=1)["mIoU"] <= 1


def test_scale_below_one_is_refused(codec: MaskigeCodec) -> None:
    with pytest.raises(ValueError, match="scale: expected at least 1, got 0"):
        reconstruct(codec, labels(16, 24), scale=0)


class Labels:
    """Three label maps as a data set."""

    palette = PALETTE

    def __init__(self, root) -> None:
        self.root = root

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"label": labels(24, 40)[index % 2]}


def test_ceiling_counts_over_the_whole_set(codec: MaskigeCodec, tmp_path) -> None:
    seen: list[tuple[int, int]] = []
    outcome = ceiling(codec, Labels(tmp_path), progress=lambda done, total: seen.append((done, total)), scale=1)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert outcome["tokens_per_image"] == 15 and outcome["maskige_scale"] == 1
    assert outcome["codes"] == 32 and 1 <= outcome["codes_used"] <= 32
    target = torch.cat([labels(24, 40)[:2], labels(24, 40)[:1]])
    got = reconstruct(codec, target, scale=1).labels
    kept = target != 255
    assert outcome["aAcc"] == pytest.approx((got[kept] == target[kept]).double().mean().item())
    assert outcome["mIoU"] == outcome["mIoU_full_size"]
