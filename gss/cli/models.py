"""The models, tokenizers and calibrations that commands load, on the device that the arguments name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gss.cli.arguments import add_run

if TYPE_CHECKING:
    import torch

    from gss.data.dataset import PairDataset
    from gss.model.classifier import PixelClassifier
    from gss.model.codec import Codec
    from gss.model.gss import GSS
    from gss.prediction.calibration import Calibration

WEIGHTS = "model.safetensors"


def load_model(run: Path | str, device: str | None) -> GSS | PixelClassifier:
    """The model of a run on a device, see `find_device`. Raises the errors of `find_device` and `gss.load`."""
    import gss

    target = find_device(device)
    return gss.load(run).to(target)


def find_device(name: str | None) -> torch.device:
    """The device of that name, or without a name cuda if available, else cpu.

    Raises ValueError for a device that does not exist or cannot be used here.
    """
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Torch refuses an absent device with one of these, depending on its build.
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"--device: {name!r} cannot be used here ({reason})") from error
    return device


def add_codec(parser: argparse.ArgumentParser) -> None:
    """RUN, --dalle DIR, --vqgan PATH and --palette: the tokenizer of a run, or published weights with any palette."""
    add_run(parser, nargs="?")
    help_text = "instead of RUN: folder with encoder.pkl and decoder.pkl"
    parser.add_argument("--dalle", metavar="DIR", type=Path, help=help_text)
    help_text = "instead of RUN: a VQGAN checkpoint, or the folder of a VQModel"
    parser.add_argument("--vqgan", metavar="PATH", type=Path, help=help_text)
    parser.add_argument("--palette", metavar="NAME|FILE", help="the colours of the classes, with --dalle or --vqgan")


def codec_source(arguments: argparse.Namespace) -> Path | str:
    """The given one of RUN, --dalle and --vqgan. Raises ValueError for none or several."""
    given = [path for path in (arguments.model, arguments.dalle, arguments.vqgan) if path is not None]
    if len(given) != 1:
        raise ValueError(f"expected one of RUN, --dalle DIR and --vqgan PATH, got {len(given)} of them")
    return given[0]


def load_codec(arguments: argparse.Namespace) -> Codec:
    """The codec that the arguments of `add_codec` and --device name, on that device.

    Raises ValueError if none or several are named, if the palette is missing, and for a pixel classifier.
    """
    source = codec_source(arguments)
    if arguments.model is not None:
        from gss.model.loading import load_codec as load_run

        return load_run(source).to(find_device(arguments.device))
    if arguments.palette is None:
        raise ValueError("expected --palette NAME or FILE with --dalle and --vqgan, since those have no classes")
    from gss.convert.dalle import read_dalle
    from gss.convert.vqgan import read_vqgan
    from gss.model.codec import MaskigeCodec
    from gss.palette import get_palette

    palette = get_palette(arguments.palette)
    if arguments.vqgan is not None:
        codec = MaskigeCodec(palette, read_vqgan(source))
    else:
        codec = MaskigeCodec(palette, read_dalle(arguments.dalle / "encoder.pkl", arguments.dalle / "decoder.pkl"))
    return codec.eval().to(find_device(arguments.device))


def open_labels(arguments: argparse.Namespace, codec: Codec) -> PairDataset:
    """The split that the arguments of `add_data` name; its images may be missing."""
    from gss.data.sources.layouts import detect_label_layout, open_dataset

    layout = arguments.layout or detect_label_layout(arguments.data)
    return open_dataset(
        arguments.data, arguments.split, codec.palette, cache=False, layout=layout, lists=arguments.lists
    )


def weights_of_run(run: Path) -> str:
    """The digest of the weights in a run folder. Raises FileNotFoundError if it is no folder of a run."""
    from gss.training.checkpoint import weights_digest

    if not (run / WEIGHTS).is_file():
        raise FileNotFoundError(f"{run}: no {WEIGHTS}; a calibration is kept in the folder of a finished run")
    return weights_digest(run / WEIGHTS)


def load_calibration(run: Path) -> Calibration:
    """The calibration that `gss evaluate --calibration` wrote into a run folder.

    Raises FileNotFoundError if there is none, ValueError for one of other weights and for a damaged file.
    """
    from gss.prediction.calibration import FILE, Calibration

    path = run / FILE
    command = f"`gss evaluate {run} --data DIR --calibration`"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, and without it there is no confidence; {command} writes it")
    calibration = Calibration.load(path)
    if calibration.weights != weights_of_run(run):
        raise ValueError(f"{path}: made for other weights than those of {WEIGHTS}; {command} writes it anew")
    return calibration
