"""Loading a model onto a device, for every command that uses one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gss.model.classifier import PixelClassifier
    from gss.model.gss import GSS


def load_model(run: Path | str, device: str | None) -> GSS | PixelClassifier:
    """The model of a run on the device of that name, or where None is given on the GPU if there is one.

    Raises ValueError for a device that is none or is not here, and what `gss.load` raises.
    """
    import gss

    target = find_device(device)
    return gss.load(run).to(target)


def find_device(name: str | None) -> torch.device:
    """The device of that name, once it is known to work; without a name cuda if available, else cpu."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Depending on how torch was built it refuses an absent device with any of these.
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"--device: {name!r} cannot be used here ({reason})") from error
    return device
