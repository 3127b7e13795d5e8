"""Label maps on disk.

A label map is an 8-bit index PNG: grey (mode L) or with a colour table (mode P); either way the stored value is the
class id and 255 marks ignored pixels. Colour masks are never guessed at: `rgb_to_labels` converts them explicitly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image

from gss.io.files import PathLike
from gss.io.pillow import load_image, open_image, raw_mode, save_image
from gss.palette import Palette

# The value of ids that a data set does not have. No palette has so many classes.
NO_ID = 254


class ColorMask(ValueError):
    """The label file holds colours instead of class ids; `rgb` is the decoded (H, W, 3) uint8 array."""

    def __init__(self, message: str, rgb: np.ndarray) -> None:
        super().__init__(message)
        self.rgb = rgb


def read_label(path: PathLike, palette: Palette | None = None, remap: torch.Tensor | None = None) -> torch.Tensor:
    """Read a label map as uint8 (H, W): class ids, 255 = ignore.

    Args:
        path: an 8-bit index image, grey or with a colour table.
        palette: if given, ids outside it are refused.
        remap: uint8 (256,), the class id of each id that can stand in the file, see `remap_table`.

    Raises:
        FileNotFoundError: no such file.
        UnreadableFile: a damaged file.
        ColorMask: an RGB file.
        ValueError: another mode, or ids that are no class of the palette.
    """
    with open_image(path) as image:
        mode, stored_as = image.mode, raw_mode(image)
        load_image(path, image)
        if mode in ("RGB", "RGBA"):
            message = (
                f"{path}: a colour mask (mode {mode}), expected an index PNG (mode L or P) whose values are class ids; "
                "convert it once with gss.io.labels: "
                "write_label(path, rgb_to_labels(read_image(path), palette), palette)"
            )
            raise ColorMask(message, np.array(image.convert("RGB")))
        # Grey PNGs of 1, 2 or 4 bits are stretched to 0..255 by image libraries, so their values are no longer ids.
        if mode not in ("L", "P") or (mode == "L" and stored_as != "L"):
            raise ValueError(
                f"{path}: expected an 8-bit index PNG (mode L or P), got mode {mode} stored as {stored_as}"
            )
        labels = np.array(image)
    if palette is not None:
        unknown = outside_palette(labels, palette, remap)
        if unknown and remap is not None:
            raise ValueError(f"{path}: ids {', '.join(map(str, unknown))} are not among those of the data set")
        if unknown:
            raise ValueError(
                f"{path}: class ids {', '.join(map(str, unknown))} are outside the palette {palette.name!r} "
                f"(0..{palette.num_classes - 1}, and 255 for ignore)"
            )
    return torch.from_numpy(labels if remap is None else remap.numpy()[labels])


def remap_table(ids: Mapping[int, int], default: int = NO_ID) -> torch.Tensor:
    """A look-up table, uint8 (256,), from the ids in a file to class ids; 255 stays 255 unless `ids` has it.

    Args:
        ids: class ids by stored id.
        default: the class id of all other stored ids: 255 where a data set has ids without a class, `NO_ID` where it
            has no other ids, so that they are reported and not ignored.

    Raises:
        ValueError: ids outside 0..255.

    >>> remap_table({7: 0, 8: 1}, default=255)[[7, 8, 9, 255]].tolist()
    [0, 1, 255, 255]
    """
    table = torch.full((256,), default, dtype=torch.uint8)
    table[255] = 255
    for stored, class_id in ids.items():
        if not (0 <= stored <= 255 and 0 <= class_id <= 255):
            raise ValueError(f"ids: expected 0..255 on both sides, got {stored}: {class_id}")
        table[stored] = class_id
    return table


def write_label(path: PathLike, labels: torch.Tensor, palette: Palette) -> None:
    """Write class ids as a mode P PNG: the index is the class id, the colour table shows the palette.

    Reading back gives the ids; any image viewer shows the colours (255 as the ignore colour).

    Args:
        path: the file to write.
        labels: uint8 (H, W), class ids and 255.
        palette: gives the colours.

    Raises:
        TypeError: another dtype.
        ValueError: another shape, or ids outside the palette.
    """
    if labels.dtype != torch.uint8:
        raise TypeError(f"labels: expected uint8, got {labels.dtype}")
    if labels.ndim != 2:
        raise ValueError(f"labels: expected (H, W), got {tuple(labels.shape)}")
    array = labels.detach().cpu().contiguous().numpy()
    unknown = outside_palette(array, palette)
    if unknown:
        raise ValueError(f"labels: class ids {', '.join(map(str, unknown))} are outside the palette {palette.name!r}")
    image = Image.fromarray(array).convert("L")
    image.putpalette(palette.color_table().tobytes())
    save_image(path, image)


def rgb_to_labels(image: torch.Tensor, palette: Palette) -> torch.Tensor:
    """A colour mask uint8 (3, H, W) as class ids uint8 (H, W), by exact colour; the ignore colour becomes 255.

    Where a class has the ignore colour, the class wins.

    Raises:
        ValueError: another dtype or shape, or colours that are not in the palette, listed with their pixels (JPEG masks
            and resized masks have such colours).

    >>> palette = Palette("two", ("sky", "car"), ((0, 0, 200), (200, 0, 0)))
    >>> mask = torch.tensor([[200, 0, 0], [0, 0, 200], [0, 0, 0]], dtype=torch.uint8).T[:, None]
    >>> rgb_to_labels(mask, palette).tolist()
    [[1, 0, 255]]
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image: expected uint8 (3, H, W), got {image.dtype} {tuple(image.shape)}")
    rgb = image.permute(1, 2, 0).cpu().numpy()
    unknown = unknown_colors(rgb, palette)
    if unknown:
        shown = "; ".join(f"{color}: {count} pixels" for color, count in unknown[:8])
        more = f"; and {len(unknown) - 8} more colours" if len(unknown) > 8 else ""
        raise ValueError(f"image: colours that are not in the palette {palette.name!r}: {shown}{more}")
    ids = np.full(1 << 24, palette.ignore_index, np.uint8)
    ids[_pack(np.array(palette.colors, np.uint8))] = np.arange(palette.num_classes, dtype=np.uint8)
    return torch.from_numpy(ids[_pack(rgb)])


def outside_palette(labels: np.ndarray, palette: Palette, remap: torch.Tensor | None = None) -> list[int]:
    """The values of a uint8 label array that are, after `remap`, neither a class id nor 255, sorted."""
    classes = np.arange(256) if remap is None else remap.numpy()
    known = (classes < palette.num_classes) | (classes == palette.ignore_index)
    counts = np.bincount(labels.ravel(), minlength=256)
    return np.flatnonzero((counts > 0) & ~known).tolist()


def unknown_colors(rgb: np.ndarray, palette: Palette) -> list[tuple[tuple[int, int, int], int]]:
    """The colours of a uint8 (H, W, 3) mask that the palette lacks, as ((r, g, b), pixels), most frequent first."""
    packed, counts = np.unique(_pack(rgb), return_counts=True)
    known = _pack(np.array([*palette.colors, palette.ignore_color], np.uint8))
    found = [(int(c), int(n)) for c, n in zip(packed, counts, strict=True) if c not in known]
    found.sort(key=lambda entry: (-entry[1], entry[0]))
    return [((color >> 16, color >> 8 & 255, color & 255), count) for color, count in found]


def _pack(rgb: np.ndarray) -> np.ndarray:
    wide = rgb.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
