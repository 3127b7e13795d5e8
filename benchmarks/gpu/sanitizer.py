"""compute-sanitizer over one small call of every operation.

    python -m benchmarks.gpu.sanitizer        # what runs under it: the calls alone

Without PyTorch's caching allocator every tensor is an allocation of its own, so that reading past its end is seen.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.catalogue import calls
from benchmarks.gpu.checks import Result
from benchmarks.gpu.place import Place, find

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("memcheck", "racecheck")
FAULTS = 86  # the exit code that tells errors it found from errors of its own
SUMMARY = re.compile(r"(ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)")
SHOWN = 3000  # characters of its output kept


def find_tool() -> str | None:
    """On PATH, or in a CUDA toolkit where those are installed."""
    folders = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    known = [Path(f) / sub / "compute-sanitizer" for f in folders if f for sub in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or next((str(p) for p in known if p.is_file()), None)


def run(place: Place, deadline: float) -> list[Result]:
    """One result a tool; a dry run makes the calls without it."""
    if place.dry:
        small_calls(place)
        return [_result(tool, "absent", 0.0, "a dry run has no GPU; the calls ran without it") for tool in TOOLS]
    tool_path = find_tool()
    if tool_path is None:
        return [_result(tool, "absent", 0.0, "compute-sanitizer is not installed") for tool in TOOLS]
    found = []
    for i, tool in enumerate(TOOLS):
        found.append(_under(tool_path, tool, (deadline - time.time()) / (len(TOOLS) - i)))
    return found


def _under(path: str, tool: str, seconds: float) -> Result:
    if seconds < 5:
        return _result(tool, "not reached", 0.0, "no time was left")
    command = [path, "--tool", tool, "--error-exitcode", str(FAULTS), "--print-limit", "20"]
    if tool == "memcheck":  # what torch and Triton ask the driver to find out what it can do is no error
        command += ["--report-api-errors", "no"]
    command += [sys.executable, "-m", "benchmarks.gpu.sanitizer", "--until", str(time.time() + 0.8 * seconds)]
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    start = time.time()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        output = expired.output.decode(errors="replace") if expired.output else ""
        return _result(tool, "not reached", time.time() - start, f"stopped after {seconds:.0f} s\n{output[-SHOWN:]}")
    return verdict(tool, done.returncode, done.stdout, time.time() - start)


def verdict(tool: str, code: int, output: str, seconds: float) -> Result:
    """ "wrong" for errors it reports, "absent" where it cannot work on this machine, "error" for anything else."""
    summary = SUMMARY.search(output)
    made = re.findall(r"^ran (.*)$", output, re.MULTILINE)
    measured = {"calls": len(made), "summary": summary.group(0) if summary else None}
    if "Device not supported" in output or "unable to initialize" in output.lower():
        return _result(tool, "absent", seconds, "compute-sanitizer does not work here: " + output[-500:])
    if code == 0 and summary and summary.group(2) == "0" and made:
        return {**_result(tool, "pass", seconds), "measured": measured}
    status = "wrong" if code == FAULTS or (summary and summary.group(2) != "0") else "error"
    return {**_result(tool, status, seconds, f"exit code {code}\n{output[:SHOWN]}"), "measured": measured}


def _result(tool: str, status: str, seconds: float, detail: str = "") -> Result:
    found: dict[str, Any] = {"id": f"sanitizer/{tool}", "status": status, "seconds": seconds}
    return found | ({"detail": detail} if detail else {})


def small_calls(place: Place, until: float = float("inf")) -> None:
    """Every call of the catalogue once, each announced when it is done."""
    for call in calls(place):
        if time.time() > until:
            print("no time for the rest")
            return
        call.run(*call.inputs(0))
        place.synchronize()
        if not place.dry:
            print(f"ran {call.name}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--until", type=float, default=float("inf"), help="seconds since 1970")
    small_calls(find(False), parser.parse_args().until)
