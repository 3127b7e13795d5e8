"""How `make check-gpu` measures: rounds, what could not take part, promises, telemetry. None of it needs a GPU."""

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import bench, place, promises, providers, telemetry, timing
from benchmarks.gpu.cases import PREDICTED, PROMISED, cases
from benchmarks.kernels.providers import TRITON

DRY = place.Place(torch.device("cpu"), "reference", True)


def test_every_variant_is_timed_in_turn() -> None:
    order: list[int] = []
    variants = [timing.Variant(lambda i=i: order.append(i), 1, "clock") for i in range(3)]
    timing.measure(DRY, variants, 0.0)
    assert order == [0, 1, 2] * 3
    assert all(len(v.times) == 2 for v in variants), "the first round is dropped"


def test_absent_libraries_are_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.Bench(DRY, telemetry.Telemetry(None), {})
    monkeypatch.setattr(bench, "taking_part", lambda case, here: providers.ADDED["linear_cross_entropy"])
    run.roofs = {"copy_gb_per_s": 1.0}
    run._case(next(case for case in cases(DRY, []) if case.op == "linear_cross_entropy"))
    if not run.rows:
        assert {a["reason"] for a in run.absent} == {
            "liger-kernel is not installed",
            "cut-cross-entropy is not installed",
        }


def test_promises_are_kept_broken_or_unmeasured() -> None:
    def row(name: str, provider: str, seconds: float, **fields: Any) -> dict[str, Any]:
        case = PROMISED[name]
        given = {"op": case.op, "case": case.label, "study": "table", "provider": provider, "median_s": seconds}
        return given | {"percent_of_roof": 91.0, "extra_peak_bytes": 1000} | fields

    rows = [
        row("decode/k19/uint8", TRITON, 8e-6),
        row("decode/k150/uint8", TRITON, 16e-6),
        row("nearest_code/bfloat16", TRITON, 0.45e-3),
        row("nearest_code/bfloat16", "flash-kmeans assign", 0.9e-3),
        row("linear_argmax/bfloat16", TRITON, 3.3e-3, extra_peak_bytes=30_000_000),
        row("encode/16mpx/float32", TRITON, 60e-6),
    ]
    found = {v["promise"]: v for v in promises.verdicts(rows)}
    by_kept = {kept: [p for p, v in found.items() if v["kept"] is kept] for kept in (True, False, None)}
    assert any("ahead of flash-kmeans" in p for p in by_kept[True]) and any(">= 90 %" in p for p in by_kept[True])
    assert {p.split(": ")[1] for p in by_kept[False]} == {"<= 15 us", "< 20 MB extra"}
    assert any("ahead of Liger" in p for p in by_kept[None])
    assert found["nearest_code 73728 x 8192 x 256, bfloat16: ahead of flash-kmeans assign"]["measured"] == "2.00x"


def test_promises_have_the_ids_of_the_predictions() -> None:
    predicted = pytest.importorskip("benchmarks.static.promises")
    assert set(predicted.PROMISES) >= set(PROMISED | PREDICTED)


def test_telemetry_without_a_gpu_says_why() -> None:
    nothing = telemetry.Telemetry(None)
    with nothing.sampled() as found:
        pass
    assert nothing.missing == "there is no GPU" and found == {} and nothing.energy_mj() is None


class Nvml:
    """A driver with one GPU that is held at its power limit, does not tell its temperature, and uses 250 J a look."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    nvmlClocksThrottleReasonSwPowerCap, nvmlClocksThrottleReasonAll, nvmlClocksThrottleReasonNone = 4, 255, 0
    NVMLError = type("NVMLError", (Exception,), {})
    energy = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        known = {"Name": b"a GPU", "DriverVersion": "580", "Count": 1, "UUID": "GPU-1", "PowerUsage": 699_000}
        known |= {"HandleByIndex": "handle", "MaxClockInfo": 1980, "ClockInfo": 1500, "EnforcedPowerLimit": 700_000}
        known |= {"CurrentClocksThrottleReasons": 4, "CurrentClocksEventReasons": 4}

        def answer(*arguments: Any) -> Any:
            if name.endswith("Temperature"):
                raise self.NVMLError("not supported")
            if name.endswith("TotalEnergyConsumption"):
                self.energy += 250_000
                return self.energy
            return next((value for part, value in known.items() if name.endswith("Get" + part)), None)

        return answer

    def __dir__(self) -> list[str]:
        return [name for name in vars(Nvml) if name.startswith("nvmlClocks")]


def test_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="1"))
    gpu = telemetry.Telemetry(0)
    assert gpu.missing is None and gpu.device["name"] == "a GPU" and gpu.device["power_limit_w"] == 700
    with gpu.sampled() as found:
        time.sleep(0.05)
    assert found["samples"] >= 1 and found["sm_mhz"] == {"least": 1500, "median": 1500, "most": 1500}
    assert found["power_w"]["most"] == 699 and "temperature_c" not in found
    assert found["throttled_by"] == ["SwPowerCap"]
    replays: list[int] = []
    joules = telemetry.energy_per_call(gpu, lambda: replays.append(1), lambda: None, calls=10, seconds=0.01)
    assert joules == pytest.approx(250 / (10 * len(replays)))


@pytest.mark.parametrize(
    ("seconds", "copies", "launches"),
    [(8e-6, 22, 264), (0.5e-3, 3, 6), (3e-3, 2, 2), (15e-3, 2, 1), (1e-9, 64, 448)],
)
def test_a_replay_lasts_long_enough_and_uses_every_copy(seconds: float, copies: int, launches: int) -> None:
    assert timing._launches(seconds, copies) == launches
