"""The tuner without a GPU: the candidates it times, the answers it accepts, and the table it writes."""

import json
from pathlib import Path

import pytest
import torch

from gsskernels.triton import plan
from gsskernels.triton.plan import SM_90
from gsskernels.tune import __main__ as command
from gsskernels.tune import problems, search, tables

CURRENT = {"block_rows": 128, "block_codes": 128, "block_features": 64, "num_warps": 8, "num_stages": 3}


def table() -> tables.Table:
    return dict(plan._table(90))


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert command.main(["--quick"]) == 2
    assert "torch finds none" in capsys.readouterr().err


def test_quick_candidates_are_one_step_away() -> None:
    found = problems.candidates(CURRENT, 64, quick=True)
    assert all(sum(c[name] != CURRENT[name] for name in CURRENT) == 1 for c in found)
    assert {**CURRENT, "num_stages": 4} in found and {**CURRENT, "block_rows": 256} in found
    assert not any(c["block_features"] > 64 for c in found), "more features than the problem has"


def test_candidates_fit_the_registers() -> None:
    found = problems.candidates(CURRENT, 2048, quick=False)
    assert CURRENT not in found and len(found) == len({json.dumps(c) for c in found}) > 100
    assert all(c["block_rows"] * c["block_codes"] // (32 * c["num_warps"]) <= 128 for c in found)


@pytest.mark.parametrize("kernel", ["affine_argmax", "certified", "sample", "cross_entropy_fused"])
def test_every_row_has_a_problem_that_its_row_decides(kernel: str) -> None:
    """A candidate for a row changes the launches of the problem on which the row is timed."""
    found = table()
    for row, entry in enumerate(found[kernel]):
        posed = problems.problem(kernel, entry["when"])
        smaller = {**entry["use"], "block_rows": entry["use"]["block_rows"] // 2}
        changed = tables.replaced(found, kernel, row, smaller)
        assert search.launches(changed, SM_90, posed) != search.launches(found, SM_90, posed), (kernel, entry["when"])


def test_the_quickest_right_candidate_is_taken(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """The times prefer few rows per block; the problem is small enough for the interpreter."""
    found = table()
    row = len(found["affine_argmax"]) - 1

    def milliseconds(call: object, rep: int = 30) -> float:
        return float(plan._table(90)["affine_argmax"][row]["use"]["block_rows"])

    monkeypatch.setattr(search, "milliseconds", milliseconds)
    posed = problems.Problem("nearest_code", 2, 300, rows=70, codes=90)
    tuner = search.Tuner(device, SM_90, quick=True, map=map)
    taken = tuner.row(found, "affine_argmax", row, posed)
    before, after = found["affine_argmax"][row]["use"], taken["affine_argmax"][row]["use"]
    fewest = min(c["block_rows"] for c in [before, *problems.candidates(before, 300, quick=True)])
    assert after == {**before, "block_rows": fewest}
    assert taken["sample"] == found["sample"] and plan._table(90) == found, "tables in use are put back"


def test_wrong_answers_are_never_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], device: torch.device
) -> None:
    found = table()
    right = search.agree
    monkeypatch.setattr(search, "milliseconds", lambda call, rep=30: float(len(json.dumps(plan._table(90)))))
    monkeypatch.setattr(search, "agree", lambda got, wanted: right(got, wanted) and plan._table(90) == found)
    posed = problems.Problem("linear_sample", 2, 40, rows=33, codes=50)
    tuner = search.Tuner(device, SM_90, quick=True, map=map)
    assert tuner.row(found, "sample", len(found["sample"]) - 1, posed) == found
    assert "wrong answers" in capsys.readouterr().out


def test_a_table_is_written_as_it_is_read(tmp_path: Path) -> None:
    found = {**table(), "made": tables.made("a GPU")}
    path = tmp_path / "tables" / "sm90.json"
    tables.write(found, path)
    assert json.loads(path.read_text()) == found
    assert [p.name for p in path.parent.iterdir()] == ["sm90.json"]
    assert len(path.read_text().splitlines()) < 60, "a row a line"
    assert set(found["made"]) >= {"gpu", "triton", "torch", "date", "command"}
