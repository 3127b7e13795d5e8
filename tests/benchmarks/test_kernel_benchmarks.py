"""The benchmark suite: every provider answers what the reference answers, and a result file becomes a page."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kernels import cases, promises, registry, report
from benchmarks.kernels.schedule import Workbench, plan

TINY = [
    cases.encode(5, 7, 19, "float32"),
    cases.decode(6, 5, 19, "uint8"),
    cases.label_resize(6, 5, 9, 4, 19),
    cases.evaluate(6, 5, 9, 4, 19),
    cases.confusion(6, 5, 19),
    cases.codebook("nearest_code", 9, 12, 8),
    cases.codebook("linear_argmax", 9, 12, 8),
    cases.codebook("linear_cross_entropy", 9, 12, 8, backward=True),
    cases.codebook("code_statistics", 9, 12, 8),
]


@pytest.mark.parametrize("case", TINY, ids=[case.op for case in TINY])
def test_every_provider_that_is_here_agrees_with_the_reference(case: cases.Case) -> None:
    bench, answered = Workbench(), []
    for task in plan([case], quick=True):
        if task.number or task.provider.role != "answer" or "torch.compile" in task.provider.name:
            continue  # compiling takes long and is PyTorch's to test
        found = bench.prepare(task)
        if isinstance(found, str):
            assert found, f"{task.provider.name} is absent without a reason"
            continue
        answered.append(task.provider.name)
        assert found.agreement is None or found.agreement == 1.0, task.provider.name
    assert "gsskernels reference" in answered and len(answered) >= 3


def test_absent_libraries_are_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = registry.named("nearest_code", "faiss")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert faiss.missing() == "faiss is not installed"


def row(provider: str, seconds: float, **fields: Any) -> dict[str, Any]:
    given = {"op": "maskige_decode", "case": "1024x2048, K = 19, float32", "study": "table", "at": None, "threads": 2}
    given |= {"provider": provider, "role": "answer", "library": "torch", "backend": None, "isa": None}
    given |= {"median_s": seconds, "roof": "copy", "gb_per_s": 1.0, "gflop_per_s": None, "percent_of_roof": 50.0}
    return {**given, "extra_peak_bytes": 4096, **fields}


def results() -> dict[str, Any]:
    rows = [
        row("gsskernels native", 0.002, library="gsskernels", backend="native", isa="avx2"),
        row("gsskernels native, avx2", 0.002, library="gsskernels", backend="native", isa="avx2"),
        row("torch.compile", 0.012),
        row("official formula", 0.4),
        row("gsskernels native", 1e-5, study="overhead", library="gsskernels"),
        row("one small torch op", 1e-6, study="overhead", role="roof"),
    ]
    machine = {"cpu": "a processor", "cpu_family_model": "1/2", "cores": 2, "flags": ["avx2"], "memory_gib": 8}
    machine |= {"cache": {"L2": "1M", "L3": "8M"}, "date": "today", "packages": {"torch": "2", "faiss-cpu": None}}
    machine["gsskernels"] = {"version": "0", "commit": "c", "isas": ["avx2"]}
    roofs = {"2": {"copy_gb_per_s": 30.0, "mm_float32_gflop_per_s": 150.0, "mm_bfloat16_gflop_per_s": 400.0}}
    return {"machine": machine, "roofs": roofs, "rows": rows}


def test_report(tmp_path: Path) -> None:
    file, page = tmp_path / "results.json", tmp_path / "page.md"
    file.write_text(json.dumps(results()))
    page.write_text("before\n" + "".join(f"<!-- {n} -->\nold\n<!-- /{n} -->\n" for n in report.SECTIONS) + "after\n")
    report.main([str(file), "--page", str(page), "--no-plots"])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| **gsskernels native** | 2 ms | 1.0x | 1.0 | 50 | < 1 MiB |" in text
    assert "| official formula | 400 ms | 200.0x | 1.0 | 50 | < 1 MiB |" in text
    assert "faiss" not in text


def test_a_page_without_the_place_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- tables -->"):
        report.replaced("no markers", "tables", "text")


def test_promises_say_no_where_they_are_broken() -> None:
    kept = {p.text: p.kept for p in promises.promises(results()["rows"])}
    assert kept["decode 1024x2048, K = 19: <= 2.5x the time of its bytes"]
    assert kept["decode 1024x2048, K = 19: >= 5x as fast as torch.compile"]
    assert not kept["decode 1024x2048, K = 19: >= 250x as fast as official formula"]


@pytest.mark.parametrize(("value", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (1.4e-5, "14 us"), (5e-7, "0.5 us")])
def test_seconds(value: float, text: str) -> None:
    assert report.seconds(value) == text
