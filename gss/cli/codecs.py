"""Which tokenizer a command measures: that of a run, or published weights with any palette."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gss.cli.arguments import add_run

if TYPE_CHECKING:
    from gss.data.dataset import PairDataset
    from gss.model.codec import Codec


def add_codec(parser: argparse.ArgumentParser) -> None:
    """RUN, --dalle DIR, --vqgan PATH and --palette."""
    add_run(parser, nargs="?")
    parser.add_argument("--dalle", metavar="DIR", type=Path, help="instead of RUN: where encoder.pkl, decoder.pkl are")
    parser.add_argument(
        "--vqgan", metavar="PATH", type=Path, help="instead of RUN: a VQGAN checkpoint, or the folder of a VQModel"
    )
    parser.add_argument("--palette", metavar="NAME|FILE", help="the colours of the classes, with --dalle or --vqgan")


def codec_source(arguments: argparse.Namespace) -> Path | str:
    """The one of RUN, --dalle and --vqgan that was given. Raises ValueError for none or several."""
    given = [path for path in (arguments.model, arguments.dalle, arguments.vqgan) if path is not None]
    if len(given) != 1:
        raise ValueError(f"expected one of RUN, --dalle DIR and --vqgan PATH, got {len(given)} of them")
    return given[0]


def load_codec(arguments: argparse.Namespace) -> Codec:
    """The codec that `add_codec`'s arguments and --device name, on that device.

    Raises ValueError where none or several are named, where the palette is missing, and for a pixel classifier.
    """
    from gss.cli.models import find_device

    source = codec_source(arguments)
    if arguments.model is not None:
        from gss.model.loading import load_codec as load_run

        return load_run(source).to(find_device(arguments.device))
    if arguments.palette is None:
        raise ValueError("expected --palette NAME or FILE with --dalle and --vqgan, since those know no classes")
    from gss.convert.dalle import read_dalle
    from gss.convert.vqgan import read_vqgan
    from gss.model.codec import MaskigeCodec
    from gss.palette import get_palette

    palette = get_palette(arguments.palette)
    if arguments.vqgan is not None:
        codec = MaskigeCodec(palette, read_vqgan(source))
    else:
        folder = arguments.dalle
        codec = MaskigeCodec(palette, read_dalle(folder / "encoder.pkl", folder / "decoder.pkl"))
    return codec.eval().to(find_device(arguments.device))


def open_labels(arguments: argparse.Namespace, codec: Codec) -> PairDataset:
    """The split that `add_data`'s arguments name; its images may be missing."""
    from gss.data.sources.layouts import detect_label_layout, open_dataset

    layout = arguments.layout or detect_label_layout(arguments.data)
    return open_dataset(
        arguments.data, arguments.split, codec.palette, cache=False, layout=layout, lists=arguments.lists
    )
