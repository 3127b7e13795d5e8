"""``python -m gsskernels.info [--json]``: versions, devices, backends, and why a backend is missing."""

import argparse
import importlib
import json
import platform

import torch

import gsskernels
from gsskernels import _dispatch


def collect() -> dict[str, object]:
    """Collects the facts for a bug report. The value of a backend is None if it can run, else the reason."""
    cuda = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    vectors, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    devices = [f"cpu: {platform.machine()}, {vectors}, {threads} threads"]
    devices += [
        f"cuda:{i}: {d.name}, compute capability {d.major}.{d.minor}, {d.total_memory / 2**30:.1f} GiB"
        for i, d in enumerate(cuda)
    ]
    return {
        "versions": {
            "gsskernels": gsskernels.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "numpy": _version("numpy"),
            "triton": _version("triton"),
        },
        "devices": devices,
        "backends": {name: _dispatch.why_missing(name) for name in _dispatch.DEVICES},
        "native": _native(),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gsskernels.info", description="Versions, devices and backends of gsskernels."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args(arguments).json
    found = collect()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, version in found["versions"].items():  # type: ignore[attr-defined]
        print(f"{name:<12}{version or 'not available'}")
    print("devices")
    for device in found["devices"]:  # type: ignore[attr-defined]
        print(f"  {device}")
    if native := found["native"]:
        others = ", ".join(native["isas"])  # type: ignore[index]
        print(f"native ISA  {native['isa']} (can run {others}; GSSKERNELS_ISA chooses)")  # type: ignore[index]
    print("backends")
    for name, reason in found["backends"].items():  # type: ignore[attr-defined]
        runs_on = "/".join(_dispatch.DEVICES[name])
        state = f"available, {runs_on} tensors" if reason is None else reason.replace("\n", f"\n{'':<14}")
        print(f"  {name:<12}{state}")


def _native() -> dict[str, object] | None:
    """The instruction set in use and all that the processor can run, or None without the native library."""
    if _dispatch.why_missing("native") is not None:
        return None
    library = importlib.import_module("gsskernels.native.library")
    return {"isa": library.functions.isa, "isas": library.available_isas()}


def _version(module: str) -> str | None:
    try:
        return str(importlib.import_module(module).__version__)
    except ImportError:
        return None


if __name__ == "__main__":
    main()
