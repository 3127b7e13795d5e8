"""Loading, choosing an instruction set, threads and forks."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import gsskernels
from gsskernels.native import library


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def info(**environment: str) -> dict[str, dict[str, str]]:
    code = "from gsskernels import info; info.main(['--json'])"
    return json.loads(python(code, **environment).stdout)


def test_every_instruction_set_below_the_best_one_runs_too() -> None:
    found = library.available_isas()
    assert found == list(library.ISAS[: len(found)]) and library.functions.isa == found[-1]


def test_an_environment_variable_forces_the_instruction_set() -> None:
    assert info(GSSKERNELS_ISA="baseline")["native"]["isa"] == "baseline"
    assert info()["native"]["isa"] == library.available_isas()[-1]


def test_an_unknown_instruction_set_is_named() -> None:
    reason = info(GSSKERNELS_ISA="avx1024")["backends"]["native"]
    assert "GSSKERNELS_ISA must be one of baseline" in reason and "got 'avx1024'" in reason


def test_forcing_ends_with_the_block() -> None:
    before = library.functions.isa
    with library.forced_isa("baseline"):
        assert library.functions.isa == "baseline"
    assert library.functions.isa == before


def test_a_missing_library_says_how_to_get_it(tmp_path: Path) -> None:
    reason = info(GSSKERNELS_LIBRARY=str(tmp_path / "libgsskernels.so"))["backends"]["native"]
    assert "there is no libgsskernels.so" in reason and "install a C++17 compiler" in reason


def test_a_failed_build_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "build_failure.txt").write_text("c++: command not found\n")
    reason = info(GSSKERNELS_LIBRARY=str(tmp_path / "libgsskernels.so"))["backends"]["native"]
    assert "c++: command not found" in reason and "pip install" in reason


def test_a_file_that_is_no_library_is_reported(tmp_path: Path) -> None:
    (tmp_path / "libgsskernels.so").write_bytes(b"not a library")
    assert "does not load" in info(GSSKERNELS_LIBRARY=str(tmp_path / "libgsskernels.so"))["backends"]["native"]


def test_without_the_library_everything_still_computes(tmp_path: Path) -> None:
    code = "import torch, gsskernels; print(gsskernels.nearest_code(torch.eye(3), torch.eye(3)).tolist())"
    assert python(code, GSSKERNELS_LIBRARY=str(tmp_path / "none.so")).stdout.strip() == "[0, 1, 2]"


FORK = """
import os, sys, torch, gsskernels
torch.set_num_threads(4)
x, codes = torch.randn(20000, 16), torch.randn(512, 16)
image, palette = torch.rand(3, 512, 512) * 255, torch.randint(0, 256, (19, 3))
def work():
    tokens = gsskernels.nearest_code(x, codes, backend="native")
    labels = gsskernels.maskige_decode(image, palette, size=(300, 300), backend="native")
    counts = gsskernels.code_statistics(x, tokens, 512, backend="native")[0]
    return [t.numpy().tobytes() for t in (tokens, labels, counts)]  # torch's own operations may hang in the child
wanted = work()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if work() == wanted else 1)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], work() == wanted)
"""


def test_forked_workers_neither_hang_nor_differ() -> None:
    """The threads of OpenMP do not exist in a forked child, which would wait for them forever."""
    assert python(FORK, OMP_NUM_THREADS="4").stdout.strip() == "[0, 0, 0] True"


def test_calls_from_several_python_threads() -> None:
    x, codes = torch.randn(3000, 9), torch.randn(300, 9)
    wanted = gsskernels.nearest_code(x, codes, backend="reference")
    found: list[bool] = []

    def work() -> None:
        for _ in range(20):
            found.append(torch.equal(gsskernels.nearest_code(x, codes, backend="native"), wanted))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_one_pool_of_threads_is_shared_with_torch() -> None:
    """A second OpenMP runtime would have a second pool of threads, which compete with those of torch."""
    code = """
import torch
from gsskernels.native import library
runtimes = {line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line or "libomp" in line}
print(len(runtimes))
"""
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    assert python(code).stdout.strip() in ("0", "1")
