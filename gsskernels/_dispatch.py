"""Chooses the backend of an operation: triton for CUDA tensors, native for CPU tensors, reference if these are missing.

A backend is a module of this package whose functions have the names and signatures of `gsskernels.reference`. The
public functions validate their arguments and pass them in canonical form, so a new backend changes no caller.

The environment variable GSSKERNELS_BACKEND names the backend to use where the caller names none.
"""

import os
from importlib import import_module
from types import ModuleType

import torch

from gsskernels import reference

DEVICES = {"triton": ("cuda",), "native": ("cpu",), "reference": ("any",)}  # fastest first

default = os.environ.get("GSSKERNELS_BACKEND") or None

_modules: dict[str, ModuleType] = {"reference": reference}
_reasons: dict[str, str] = {}
_chosen: dict[tuple[str | None, str], ModuleType] = {}


class BackendUnavailable(RuntimeError):
    """A backend that was asked for by name cannot run here. The message tells why."""


def why_missing(name: str) -> str | None:
    """The reason why a backend cannot be loaded in this installation, or None if it can. The answer is cached."""
    if name not in _modules and name not in _reasons:
        try:
            _modules[name] = import_module(f"gsskernels.{name}")
        except ImportError as error:
            _reasons[name] = f"this installation has no working gsskernels.{name} ({error})"
    return _reasons.get(name)


def _choose(backend: str | None, device_type: str) -> str:
    if backend is None:
        return next(n for n, d in DEVICES.items() if (d == ("any",) or device_type in d) and why_missing(n) is None)
    check_name(backend)
    devices = DEVICES[backend]
    if devices != ("any",) and device_type not in devices and not _interpreted(backend, device_type):
        raise BackendUnavailable(
            f"backend={backend!r} runs on {'/'.join(devices)} tensors, the input is on {device_type}"
        )
    if (reason := why_missing(backend)) is not None:
        raise BackendUnavailable(f"backend={backend!r} cannot run: {reason}")
    return backend


def _interpreted(backend: str, device_type: str) -> bool:
    """Whether Triton's interpreter replaces a GPU, in tests."""
    return device_type == "cpu" and why_missing(backend) is None and getattr(_modules[backend], "INTERPRETED", False)


def check_name(backend: str | None) -> None:
    """Raises ValueError if no backend has this name."""
    if backend is not None and backend not in DEVICES:
        raise ValueError(f"backend must be None or one of {', '.join(map(repr, DEVICES))}, got {backend!r}")


def select(backend: str | None, device: torch.device) -> ModuleType:
    """Returns the module that computes on tensors of `device`.

    Raises ValueError for an unknown backend name and BackendUnavailable (a RuntimeError) for one that cannot run.
    """
    key = (backend or default, device.type)
    if (found := _chosen.get(key)) is None:
        found = _chosen[key] = _modules[_choose(*key)]
    return found
