"""gss info: the installation, and the parts of a model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gss import __version__
from gss.cli.arguments import Subparsers, add_json, add_run

PACKAGES = ("torch", "transformers", "accelerate", "numpy", "pillow", "safetensors", "triton", "xformers")


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "info",
        help="versions, devices, kernels; with RUN, the parts of the model",
        description="Versions, devices and kernel backends: paste the output into a bug report.",
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
    """Versions of the packages, the devices, and the kernel backends with the reason why one cannot run."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from gsskernels.info import collect

    facts: dict[str, Any] = {"gss": __version__, "python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    kernels = collect()
    return {**facts, "devices": kernels["devices"], "kernel backends": kernels["backends"]}


def model_facts(path: Path | str) -> dict[str, Any]:
    """Kind, learned parameters of each part, and classes of the model in a run folder."""
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
    """The facts as text, with lists and mappings in several lines."""
    text: dict[str, str] = {}
    for key, value in facts.items():
        if key == "kernel backends":
            text[key] = "\n".join(f"{name}: {reason or 'available'}" for name, reason in value.items())
        elif key == "parameters":
            text[key] = "\n".join(f"{part}: {count:,}" for part, count in value.items())
        else:
            text[key] = "\n".join(value) if isinstance(value, list) else str(value)
    return text
