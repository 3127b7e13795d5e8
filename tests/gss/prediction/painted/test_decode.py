"""gss.decode: the class of every pixel, whatever holds the colours."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gss
from gss.io.images import UnreadableFile
from gss.io.labels import read_label, write_label
from gss.palette import Palette
from tests.gss.prediction.painted.pngs import chunk, header, png

pytestmark = pytest.mark.usefixtures("reader")

PALETTE = Palette("three", ("red", "green", "grey"), ((200, 0, 0), (0, 200, 0), (90, 90, 90)))
COLORS = np.array([*PALETTE.colors, PALETTE.ignore_color], np.uint8)
LABELS = np.random.default_rng(0).integers(0, 4, (9, 11)).astype(np.uint8)
PAINTED = COLORS[LABELS]
LABELS[LABELS == 3] = 255
LABELS = torch.from_numpy(LABELS)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_every_holder_of_the_same_colours_gives_the_same_labels(tmp_path: Path) -> None:
    picture = Image.fromarray(PAINTED)
    tensor = torch.from_numpy(PAINTED).permute(2, 0, 1)
    alpha = picture.copy()
    alpha.putalpha(7)
    sources = [
        picture,
        picture.quantize(4),
        alpha,
        PAINTED,
        tensor,
        tensor.float() / 255,
        tensor.double() / 255,
        save(tmp_path / "rgb.png", picture),
        str(save(tmp_path / "rgba.png", alpha)),
        save(tmp_path / "index.png", picture.quantize(4)),  # two bits a pixel
        save(tmp_path / "picture.bmp", picture),
        save(tmp_path / "picture.tif", picture),
        save(tmp_path / "index.tif", picture.quantize(4)),
    ]
    for source in sources:
        decoded = gss.decode(source, PALETTE)
        assert torch.equal(decoded.labels, LABELS), source
        assert decoded.margin is not None and decoded.margin.dtype == torch.float32
        assert decoded.unknown.pixels == 0
        # half of the distance to the next colour: from red to grey (110, 90, 90), from grey to black (90, 90, 90)
        assert decoded.margin[LABELS == 0].sub(84.113).abs().max() < 1e-3
        assert decoded.margin[LABELS == 2].sub(77.942).abs().max() < 1e-3


def test_a_batch_of_painted_images_with_noise() -> None:
    clean = torch.from_numpy(PAINTED).permute(2, 0, 1).float() / 255
    noise = torch.empty(3, 3, 9, 11).uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(0))
    batch = (clean + noise).clamp(0, 1)
    decoded = gss.decode(batch, PALETTE)
    assert torch.equal(decoded.labels, LABELS.expand(3, 9, 11))
    single = gss.decode(batch[1], PALETTE)
    assert decoded.margin is not None and single.margin is not None
    assert torch.equal(decoded.margin[1], single.margin)
    assert torch.equal(gss.decode((batch * 255).to(torch.uint8), PALETTE, margin=False).labels, decoded.labels)


def test_floating_colours_are_not_rounded() -> None:
    """127.4 of 255 is nearer to black, 127.6 to white; as whole levels the second would be 128, the first 127."""
    two = Palette("two", ("black", "white"), ((0, 0, 0), (255, 255, 255)))
    image = torch.tensor([127.4, 127.6]).expand(3, 1, 2) / 255
    decoded = gss.decode(image, two)
    assert decoded.labels.tolist() == [[0, 1]]
    assert decoded.margin is not None
    torch.testing.assert_close(decoded.margin, torch.full((1, 2), 0.1 * 3**0.5), atol=1e-4, rtol=0)


def test_jpeg_artefacts_are_tolerated(tmp_path: Path) -> None:
    # borders that do not fall on those of the blocks of 8 x 8 pixels, where all artefacts are
    labels = LABELS.repeat_interleave(21, 0).repeat_interleave(21, 1)
    painted = Image.fromarray(PAINTED.repeat(21, 0).repeat(21, 1))
    decoded = gss.decode(save(tmp_path / "a.jpg", painted, quality=85, subsampling=0), PALETTE)
    assert (decoded.labels != labels).float().mean() < 0.01
    assert 0 < decoded.unknown.pixels < 0.1 * labels.numel(), "the ringing at borders"


def test_grey_values_are_class_ids_unless_they_are_colours(tmp_path: Path) -> None:
    ids = Image.fromarray(LABELS.numpy())
    sources = [LABELS.numpy(), ids, save(tmp_path / "l.png", ids), save(tmp_path / "l.bmp", ids)]
    for source in sources:
        decoded = gss.decode(source, PALETTE)
        assert torch.equal(decoded.labels, LABELS)
        assert decoded.margin is not None
        assert decoded.margin[LABELS == 0].sub(84.113).abs().max() < 1e-3
        shades = gss.decode(source, PALETTE, grey="colors")
        assert torch.equal(shades.labels, torch.where(LABELS == 255, 2, 255)), "0, 1 and 2 are nearly black"
    wrong = np.array([[0, 3, 200]], np.uint8)
    with pytest.raises(ValueError, match=r"^image: grey values 3, 200 are no class ids of the palette 'three' \(0..2"):
        gss.decode(wrong, PALETTE)
    with pytest.raises(ValueError, match="^grey: expected one of ids, colors, got 'rgb'"):
        gss.decode(wrong, PALETTE, grey="rgb")


def test_black_and_white_pictures_of_pillow_hold_0_and_1(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8) * 255).convert("1")
    for source in (picture, save(tmp_path / "a.png", picture), save(tmp_path / "a.bmp", picture)):
        assert gss.decode(source, PALETTE).labels.tolist() == [[0, 1], [1, 0]]


def test_a_grey_jpeg_holds_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("L", (16, 16), 90))
    assert gss.decode(path, PALETTE).labels.unique().tolist() == [2]


def test_label_maps_written_by_gss_come_back(tmp_path: Path) -> None:
    write_label(tmp_path / "a.png", LABELS, PALETTE)
    assert torch.equal(gss.decode(tmp_path / "a.png", PALETTE, strict=True).labels, LABELS)
    assert torch.equal(read_label(tmp_path / "a.png"), LABELS)


def test_the_ignore_colour_takes_part_unless_a_class_has_it() -> None:
    black = np.zeros((1, 1, 3), np.uint8)
    assert gss.decode(black, PALETTE).labels.item() == 255
    without = gss.decode(black, PALETTE, ignore_color=False)
    assert without.labels.item() == 2, "grey, 156 levels away"
    assert without.unknown.colors == (((0, 0, 0), 1),)
    # a class of that colour wins, and is as sure as if the ignore colour were another
    night = Palette("night", ("black", "white"), ((0, 0, 0), (255, 255, 255)), ignore_color=(0, 0, 0))
    decoded = gss.decode(black, night)
    assert decoded.labels.item() == 0
    assert decoded.margin is not None and abs(decoded.margin.item() - 255 * 3**0.5 / 2) < 1e-3
    assert decoded.unknown.pixels == 0 and decoded.unknown.tolerance == 16


@pytest.mark.parametrize("classes", [1, 254, 255])
def test_as_many_classes_as_a_palette_can_have(classes: int) -> None:
    colors = tuple((k, 255 - k, 7) for k in range(classes))
    palette = Palette("many", tuple(map(str, range(classes))), colors, ignore_color=(255, 255, 255))
    picture = np.array([[*colors, (255, 255, 255)]], np.uint8)
    assert gss.decode(picture, palette, strict=True).labels.tolist() == [[*range(classes), 255]]


def test_one_colour_alone_is_infinitely_sure() -> None:
    one = Palette("one", ("red",), ((200, 0, 0),))
    decoded = gss.decode(PAINTED, one, ignore_color=False)
    assert decoded.margin is not None and torch.isinf(decoded.margin).all() and not decoded.labels.any()
    assert decoded.unknown.tolerance == 16


def test_unknown_colours_are_counted_exactly_and_listed_most_frequent_first(tmp_path: Path) -> None:
    picture = PAINTED.copy()
    picture[0, :5] = (0, 0, 255)
    picture[3:5, 0] = (255, 255, 0)
    picture[8, 9:] = [(255, 0, 255), (212, 0, 0)]  # the last is 12 levels from red
    picture[7, 0] = (200, 17, 0)
    index = Image.fromarray(picture).quantize(16)
    for source in (
        picture,
        save(tmp_path / "rgb.png", Image.fromarray(picture)),
        save(tmp_path / "index.png", index),
        torch.from_numpy(picture).permute(2, 0, 1) / 255,
    ):
        unknown = gss.decode(source, PALETTE).unknown
        assert unknown.tolerance == 16
        assert (unknown.pixels, unknown.distinct) == (9, 4)
        assert unknown.colors == (
            ((0, 0, 255), 5),
            ((255, 255, 0), 2),
            ((200, 17, 0), 1),
            ((255, 0, 255), 1),
        )
        assert gss.decode(source, PALETTE, unknown_tolerance=17).unknown.distinct == 3
        assert gss.decode(source, PALETTE, unknown_tolerance=11.5).unknown.distinct == 5
        with pytest.raises(
            ValueError, match=r"not in the palette 'three': 9 pixels farther than 16 levels .*\(0, 0, 25"
        ):
            gss.decode(source, PALETTE, strict=True)


def test_the_list_of_unknown_colours_is_cut_and_its_counts_are_not() -> None:
    picture = np.stack(np.meshgrid(*[np.arange(100, 255, 10)] * 3), axis=-1).astype(np.uint8).reshape(64, 64, 3)
    unknown = gss.decode(picture, PALETTE, unknown_tolerance=0).unknown
    assert (unknown.pixels, unknown.distinct, len(unknown.colors)) == (4096, 4096, 64)
    assert unknown.colors[:2] == (((100, 100, 100), 1), ((100, 100, 110), 1))
    assert str(unknown).endswith("; and 4088 more colours")


def test_the_default_tolerance_is_half_of_the_smallest_distance() -> None:
    near = Palette("near", ("a", "b"), ((100, 0, 0), (104, 0, 0)))
    assert gss.decode(PAINTED, near).unknown.tolerance == 2
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="unknown_tolerance: expected a number of at least 0"):
            gss.decode(PAINTED, near, unknown_tolerance=wrong)
    with pytest.raises(TypeError, match="unknown_tolerance: expected a number of levels or None, got '3'"):
        gss.decode(PAINTED, near, unknown_tolerance="3")


def test_pictures_come_upright_and_interlaced_ones_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn it right by 90 degrees
    turned = save(tmp_path / "a.png", Image.fromarray(PAINTED), exif=exif)
    assert torch.equal(gss.decode(turned, PALETTE).labels, LABELS.rot90(-1))
    # of one pixel, so that only the first of the seven passes has any
    one = header(1, 1, interlace=1) + chunk(b"IDAT", zlib.compress(bytes([0, 2]))) + chunk(b"IEND", b"")
    (tmp_path / "one.png").write_bytes(one)
    assert gss.decode(tmp_path / "one.png", PALETTE).labels.tolist() == [[2]]
    few_bits = header(1, 1, depth=2, interlace=1) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    (tmp_path / "two.png").write_bytes(few_bits)  # Pillow gives 170 for the value 2 of two bits
    assert gss.decode(tmp_path / "two.png", PALETTE).labels.tolist() == [[2]]
    assert gss.decode(tmp_path / "two.png", PALETTE, grey="colors").unknown.colors == (((170, 170, 170), 1),)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(3, 2, 2) + 1.5, ValueError, "image: expected floating values 0..1, got 1.5 to 1.5"),
        (torch.full((3, 2, 2), float("nan")), ValueError, "image: expected floating values 0..1, got nan to nan"),
        (torch.zeros(2, 2, 2), ValueError, r"image: expected \(3, H, W\) or \(B, 3, H, W\) .*got \(2, 2, 2\)"),
        (torch.zeros(0, 3, 2, 2), ValueError, r"with at least one pixel, got \(0, 3, 2, 2\)"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.int32), TypeError, "image: expected uint8 or floating values, got"),
        (np.zeros((2, 2, 3)), TypeError, "image: expected uint8 values 0..255"),
        (None, TypeError, "image: expected a path, PIL image, numpy array or tensor, got NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(image: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gss.decode(image, PALETTE)


def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gss.decode(tmp_path / "none.png", PALETTE)
    whole = io.BytesIO()
    Image.fromarray(PAINTED.repeat(9, 0)).save(whole, "JPEG")
    for name, data in (("text.png", b"hello"), ("empty.png", b""), ("half.jpg", whole.getvalue()[:-200])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableFile, match=name):
            gss.decode(tmp_path / name, PALETTE)
    for mode in ("I;16", "RGB"):
        data = header(1, 1, depth=16, color_type=0 if mode == "I;16" else 2) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        (tmp_path / "deep.png").write_bytes(data)
        with pytest.raises(ValueError, match=r"deep.png: expected an image of 8 bits a channel, got 16"):
            gss.decode(tmp_path / "deep.png", PALETTE)
    (tmp_path / "few.png").write_bytes(png(np.full((1, 2), 3, np.uint8), [0], depth=2, table=COLORS[:2]))
    with pytest.raises(ValueError, match=r"few.png: the values 3 are outside its colour table of 2 colours"):
        gss.decode(tmp_path / "few.png", PALETTE)


def test_a_file_too_large_for_memory_is_sent_to_decode_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(PAINTED))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 49)
    with pytest.raises(
        ValueError, match=r"at most 98 pixels, got 11 x 9; gss.prediction.painted.decode_file decodes larger"
    ):
        gss.decode(path, PALETTE)
    assert torch.equal(gss.decode(PAINTED, PALETTE).labels, LABELS), "what is in memory has its room"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert torch.equal(gss.decode(path, PALETTE).labels, LABELS)
