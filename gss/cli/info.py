"""gss info: what runs here, and what a run is made of."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gss import __version__
from gss.cli.arguments import Subparsers, add_json, add_run

PACKAGES = ("torch", "transformers", "accelerate", "numpy", "pillow", "safetensors", "triton", "xformers")


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "info",
        help="versions, devices, kernels; with RUN, what the model is made of",
        description="Versions, devices and kernel backends: what to paste into a bug report.",
    )
    add_run(parser, nargs="?")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit, key_values

    facts = installation() if arguments.model is None else model_facts(arguments.model)
    emit(arguments.json, facts, key_values(lines(facts)))
    return 0


def installation() -> dict[str, Any]:
    """Versions of what we build on, the devices, and which kernel backends run (or why one does not)."""
    from gsskernels.info import collect

    facts: dict[str, Any] = {"gss": __version__, "python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    kernels = collect()
    facts["devices"] = kernels["devices"]
    facts["kernel backends"] = kernels["backends"]
    return facts


def model_facts(path: Path | str) -> dict[str, Any]:
    """Kind, size in parameters (learned ones, by part) and classes of the model in a run folder."""
    import gss

    model = gss.load(path)
    return {
        "run": path,
        "model": type(model).__name__,
        "parameters": model.num_parameters(),
        "palette": model.palette.name,
        "classes": list(model.palette.class_names),
    }


def lines(facts: Mapping[str, Any]) -> dict[str, str]:
    """Lists and mappings in the facts as text."""
    text: dict[str, str] = {}
    for key, value in facts.items():
        if key == "kernel backends":
            text[key] = "\n".join(f"{name}: {reason or 'available'}" for name, reason in value.items())
        elif key == "parameters":
            text[key] = "\n".join(f"{part}: {count:,}" for part, count in value.items())
        else:
            text[key] = "\n".join(value) if isinstance(value, list) else str(value)
    return text
