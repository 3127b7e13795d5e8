"""The tests of the Triton backend on the GPU: without one they run in the interpreter, in `make test`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.checks import Result
from benchmarks.gpu.place import Place

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/gsskernels/triton"


def run(place: Place, deadline: float, jobs: int) -> list[Result]:
    """A result for each test; in several processes where pytest-xdist is installed."""
    if place.dry:
        return [_result("absent", "a dry run has no GPU: `make test` runs them in the interpreter")]
    if find_spec("pytest") is None:
        return [_result("absent", "pytest is not installed")]
    with tempfile.TemporaryDirectory(prefix="gsskernels-tests-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", TESTS, "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += ["-n", str(jobs)] if find_spec("xdist") is not None else []
        seconds = max(1.0, deadline - time.time())
        try:
            done = subprocess.run(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired as expired:
            output = expired.output.decode(errors="replace") if expired.output else ""
            return [_result("not reached", f"stopped after {seconds:.0f} s\n{output[-2000:]}")]
        if not report.exists():
            return [_result("error", f"pytest ended with {done.returncode}\n{done.stdout[-2000:]}")]
        return results(report.read_text())


def results(report: str) -> list[Result]:
    """From pytest's XML: a failed assertion is "wrong", what a test skips is "absent"."""
    statuses = {"failure": "wrong", "error": "error", "skipped": "absent"}
    found = []
    for case in ElementTree.fromstring(report).iter("testcase"):
        result = _result("pass", "", f"{case.get('classname', '').split('.')[-1]}/{case.get('name')}")
        result["seconds"] = float(case.get("time", 0))
        for part in case:
            if part.tag in statuses:
                message = f"{part.get('message', '')}\n{(part.text or '')[-2000:]}"
                result |= {"status": statuses[part.tag], "detail": message}
        found.append(result)
    return found or [_result("error", "pytest found no test")]


def _result(status: str, detail: str, name: str = TESTS) -> Result:
    found: Result = {"id": f"tests/{name}", "status": status, "seconds": 0.0}
    return found | ({"detail": detail} if detail else {})
