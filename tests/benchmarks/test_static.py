"""The tools that read machine code and predict times, on code and numbers small enough to check by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import triton.language as tl
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from benchmarks.static import compiler, roofline, sass, stored, table
from benchmarks.static import page as pages
from benchmarks.static.__main__ import report
from benchmarks.static.checks import faults
from benchmarks.static.promises import Eager, together
from benchmarks.static.roofline import Machine, Work
from benchmarks.static.variants import Variant, specialise, variants
from benchmarks.static.work import per_unit, work_of
from gsskernels.triton.launch import Launch
from gsskernels.triton.plan import SM_90

# A loop over tiles (0x20 to 0xb0) around a loop over features (0x30 to 0x60). A wait for a barrier lies out of line at
# 0xe0, spins there, and jumps back into the outer loop: its addresses would make a third loop of everything between.
NESTED = """
        Function : kernel
    /*0000*/                   LDC R1, c[0x0][0x28] ;              /* 0x00000a00ff017b82 */
                                                                   /* 0x000e620000000800 */
    /*0010*/                   BSSY B0, 0xd0 ;
    /*0020*/                   IADD3 R2, R2, 0x1, RZ ;
    /*0030*/                   LDGSTS.E.BYPASS.128 [R4], desc[UR4][R6.64] ;
    /*0040*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24 ;
    /*0050*/                   UIADD3 UR4, UR4, 0x1, URZ ;
    /*0060*/               @P0 BRA 0x30 ;
    /*0070*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [UR12], R4 ;
    /*0080*/              @!P1 BRA 0xe0 ;
    /*0090*/                   FSETP.GT.AND P2, PT, R24, R25, PT ;
    /*00a0*/                   FSEL R25, R24, R25, P2 ;
    /*00b0*/              @!P3 BRA 0x20 ;
    /*00c0*/                   BSYNC B0 ;
    /*00d0*/                   EXIT ;
    /*00e0*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [UR12], R4 ;
    /*00f0*/              @!P1 BRA 0xe0 ;
    /*0100*/                   BRA 0x90 ;
    /*0110*/                   BRA 0x110;
    /*0120*/                   NOP;
"""


def test_loops_are_found_in_the_control_flow() -> None:
    outer, inner = sass.loops(sass.parse(NESTED))
    assert (outer.header, outer.depth) == (0x20, 0) and (inner.header, inner.depth) == (0x30, 1)
    assert sass.count(inner.own) == {"tensor": 1, "global": 1, "other": 1, "uniform": 1}
    # what is out of line belongs to the loop that goes there; the spin itself is a loop and left out
    assert sass.count(outer.own) == {"select": 2, "integer": 1, "other": 4}


def test_a_loop_of_one_block() -> None:
    code = "/*0000*/ MOV R1, RZ ;\n/*0010*/ @!P0 FFMA R1, R2, R3, R1 ;\n/*0020*/ @P0 BRA 0x10 ;\n/*0030*/ EXIT ;\n"
    (loop,) = sass.loops(sass.parse(code))
    assert (loop.header, loop.depth, sass.count(loop.own)) == (0x10, 0, {"float": 1, "other": 1})


def test_instructions_have_classes() -> None:
    code = sass.parse(
        "\n".join(
            f"/*{16 * i:04x}*/ {text} ;"
            for i, text in enumerate(
                ["HMMA.16816.F32 R0, R1, R2", "FFMA R0, R1, R2", "FMNMX R0, R1", "IMAD.WIDE R0, R1", "MUFU.EX2 R0, R1",
                 "LDG.E.128 R4, [R2.64]", "SHFL.BFLY PT, R1", "UMOV UR4, URZ", "LDCU UR4, c[0x0][0x28]", "DFMA R0, R2"]
            )
        )
    )  # fmt: skip
    assert [i.kind for i in code] == (
        ["tensor", "float", "select", "multiply", "special", "global", "shared", "uniform", "uniform", "double"]
    )
    with pytest.raises(ValueError, match="QUUX"):
        sass.count(sass.parse("/*0000*/ QUUX R0 ;"))
    with pytest.raises(ValueError, match="no instruction"):
        sass.parse("cuobjdump: nothing here")


def test_memory_accesses_by_width() -> None:
    code = ["LDG.E.128.CONSTANT", "LDG.E", "LDG.E.U8", "STG.E.64", "LDGSTS.E.BYPASS.128", "UTMALDG.2D", "LDS.128"]
    parsed = sass.parse("\n".join(f"/*{16 * i:04x}*/ {opcode} R0 ;" for i, opcode in enumerate(code)))
    assert compiler.accesses(parsed) == {"load 128": 2, "load 32": 1, "load 8": 1, "load tma": 1, "store 64": 1}


def test_spills_and_resources() -> None:
    found = compiler.machine_code(sass.parse("/*0000*/ STL.64 [R1], R2 ;\n/*0010*/ LDL R2, [R1] ;\n/*0020*/ EXIT ;"))
    assert found["spills"] == 2 and found["instructions"] == 3
    usage = " Function toy:\n  REG:118 STACK:16 SHARED:1024 LOCAL:0"
    assert compiler.resources(usage) == {"registers": 118, "stack": 16}


# --- Signatures -----------------------------------------------------------------------------------------------------


def _toy_kernel(
    x_ptr, bias_ptr, table, rows, stride, huge, scale, flag, free, BLOCK: tl.constexpr, EXTRA: tl.constexpr = 7
):
    pass


def launch_of(**changed: Any) -> Launch:
    x = torch.empty(64, 64, dtype=torch.bfloat16, device="meta")
    arguments = {"x_ptr": x, "bias_ptr": None, "table": TensorDescriptor(x, [64, 64], [64, 1], [32, 16]), "rows": 48}
    arguments |= {"stride": 1, "huge": 2**40 + 1, "scale": 0.5, "flag": True, "free": 1, "BLOCK": 128, **changed}
    kernel = JITFunction(_toy_kernel, do_not_specialize=["free"])
    return Launch(kernel, (9, 2), arguments, {"num_warps": 4, "num_stages": 3})


def test_signature_is_what_triton_derives() -> None:
    found = specialise("call", SM_90, launch_of())
    assert found.signature == {
        "x_ptr": "*bf16", "bias_ptr": "constexpr", "table": "tensordesc<bf16[32, 16]>", "rows": "i32",
        "stride": "constexpr", "huge": "i64", "scale": "fp32", "flag": "u1", "free": "i32", "BLOCK": "constexpr",
        "EXTRA": "constexpr",
    }  # fmt: skip
    assert found.constants == {"bias_ptr": None, "stride": 1, "BLOCK": 128, "EXTRA": 7}
    assert found.aligned == ("x_ptr", "rows")
    assert found.attributes == {(0,): [["tt.divisibility", 16]], (3,): [["tt.divisibility", 16]]}
    assert found.name == "toy"


def test_alignment_follows_the_storage_offset() -> None:
    x = torch.empty(65, dtype=torch.float32, device="meta")
    assert "x_ptr" not in specialise("call", SM_90, launch_of(x_ptr=x[1:])).aligned
    assert "x_ptr" in specialise("call", SM_90, launch_of(x_ptr=x[4:])).aligned


def test_launches_of_the_same_code_are_one_variant() -> None:
    given = [("a", SM_90, launch_of()), ("b", SM_90, launch_of(rows=96)), ("c", SM_90, launch_of(rows=97))]
    assert [v.call for v in variants(given)] == ["a", "c"]  # 96 is a multiple of 16 like 48, 97 is not


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(TypeError, match="no parameter NOPE"):
        specialise("call", SM_90, launch_of(NOPE=1))
    incomplete = launch_of()
    del incomplete.arguments["rows"]
    with pytest.raises(TypeError, match="without rows"):
        specialise("call", SM_90, incomplete)


# --- The roofline ---------------------------------------------------------------------------------------------------

# Two multiprocessors of one scheduler at 1 Hz: 2 warp instructions and 2 x 64 selections a second.
SMALL = Machine(copy=10, l2=20, half=100, tf32=50, multiprocessors=2, schedulers=1, clock=1, launch=0.5)


def test_terms_by_hand() -> None:
    work = Work("toy", blocks=4, warps=1, straight={"select": 2}, loops=[(3, {"float": 4, "select": 1})], memory=50)
    found = roofline.terms(work, SMALL)
    assert work.lanes() == {"select": 4 * 32 * 5, "float": 4 * 32 * 12}
    assert found["memory"] == 5
    assert found["issue"] == 4 * 17 / 2
    assert found["alu"] == 4 * 32 * 5 / (64 * 2) and found["fma"] == 4 * 32 * 12 / (128 * 2)
    assert found["tensor"] == found["l2"] == found["special"] == 0


def test_blocks_are_dealt_in_whole_numbers() -> None:
    assert roofline.quantisation(4, 2) == 1 and roofline.quantisation(3, 2) == pytest.approx(4 / 3)
    assert roofline.quantisation(576, 132) == pytest.approx(5 * 132 / 576)
    work = Work("toy", blocks=3, warps=1, memory=10, l2=20, flops=100)
    found = roofline.terms(work, SMALL)
    assert (found["memory"], found["l2"], found["tensor"]) == (1, pytest.approx(4 / 3), pytest.approx(4 / 3))
    assert roofline.terms(Work("toy", blocks=2, warps=1, flops=100, rate="tf32"), SMALL)["tensor"] == 2


def test_prediction_spans_full_and_no_overlap() -> None:
    work = Work("toy", blocks=2, warps=1, straight={"integer": 6}, memory=10, l2=40, flops=400)
    found = roofline.predict(work, SMALL)
    assert (found.overlapped, found.bound) == (6, "issue")
    assert found.serial == 1 + 2 + 4 + 6  # of issue (6) and alu (3) only the longer one: pipes run side by side
    call = roofline.predict_call([work, Work("copy", memory=30, launches=2)], SMALL)
    assert call.overlapped == 6 + 2 * 3 + 3 * 0.5 and call.serial == 13 + 2 * 3 + 3 * 0.5
    assert call.bound == "issue" and call.terms["memory"] == 1 + 2 * 3


def test_the_bf16_floor_of_the_promised_codebook() -> None:
    flops = 2.0 * 73728 * 8192 * 256
    assert roofline.predict(Work("mm", flops=flops)).overlapped == pytest.approx(0.391e-3, rel=2e-3)


def variant_of(**constants: Any) -> Variant:
    x = torch.empty(64, 64, dtype=torch.bfloat16, device="meta")
    arguments = {"x_ptr": x, "codes": 1000, "features": 200, "splits": 2}
    given = {"BLOCK_ROWS": 64, "BLOCK_CODES": 128, "BLOCK_FEATURES": 64, "RESIDENT": False, **constants}

    def _argmax_kernel(
        x_ptr,
        codes,
        features,
        splits,
        BLOCK_ROWS: tl.constexpr,
        BLOCK_CODES: tl.constexpr,
        BLOCK_FEATURES: tl.constexpr,
        RESIDENT: tl.constexpr,
    ):
        pass

    kernel = JITFunction(_argmax_kernel)
    launched = Launch(kernel, (6,), {**arguments, **given}, {"num_warps": 4, "num_stages": 3})
    return specialise("call", SM_90, launched)


LOOPS = [
    {"depth": 0, "counts": {"select": 96, "other": 2}},
    {"depth": 1, "counts": {"tensor": 4, "integer": 28}},
]
FACTS = {"tensor": ["HGMMA"], "counts": {"tensor": 4, "select": 96, "integer": 50, "other": 8}, "loops": LOOPS}


def test_instructions_per_score() -> None:
    # 4 warps of 32 lanes over 64 x 128 scores: 1/64 lane instruction each; 200 features are four blocks of 64.
    found = per_unit(variant_of(), FACTS)
    assert found == {"unit": "score", "all": 3.53, "tensor": 0.25, "integer": 1.75, "select": 1.5, "other": 0.03}
    assert per_unit(variant_of(RESIDENT=True), FACTS) == {"unit": "score", "all": 0.5, "tensor": 0.06, "integer": 0.44}
    assert per_unit(variant_of(), {**FACTS, "tensor": []}) is None


def test_work_of_a_launch() -> None:
    variant = variant_of()
    x = torch.empty(384, 200, dtype=torch.bfloat16, device="meta")
    sizes = {"x_ptr": x, "codes": 1000, "features": 200, "splits": 2}
    found = work_of(Launch(variant.kernel, (12,), sizes, variant.options), variant, FACTS)
    # 8 tiles of 128 codes in 2 splits are 4 a block, each with 4 blocks of features (256 of them, padded)
    assert [t for t, _ in found.loops] == [4, 16]
    assert found.straight == {"tensor": 0, "select": 0, "integer": 22, "other": 6}
    assert found.memory == 384 * 200 * 2
    assert found.l2 == 12 * (64 + 128) * 256 * 2 * 4
    assert found.flops == 12 * 2 * 64 * (4 * 128) * 256


def test_what_pytorch_computes_is_counted_too() -> None:
    a, b = torch.empty(6, 8, device="meta"), torch.empty(8, 10, device="meta")
    with Eager() as eager:
        (a @ b).t().contiguous()
    product, copy = eager.works
    assert (product.name, product.flops, product.rate) == ("mm", 2 * 6 * 8 * 10, "tf32")
    assert [w.launches for w in together([copy, product, copy])] == [2, 1]
    assert product.memory == 4 * (48 + 80 + 60) and (copy.flops, copy.memory) == (0, 4 * 2 * 60)


# --- The table ------------------------------------------------------------------------------------------------------


def row(**changed: Any) -> dict[str, Any]:
    loops = [{"depth": 0, "counts": {"select": 10, "tensor": 2}}]
    given = {
        "kernel": "argmax",
        "sm": 90,
        "config": "BLOCK_ROWS=64 num_warps=4",
        "signature": "row_stride:i32|16 feature_stride=1",
    }
    given |= {"shared": 4096, "limit": 232448, "registers": 100, "stack": 0, "spills": 0, "instructions": 300}
    given |= {"tensor": ["HGMMA"], "accesses": {"load 128": 4}, "loops": loops}
    return {**given, "per": {"unit": "score", "all": 5.0, "select": 4.0}, **changed}


def test_same_rows_do_not_differ() -> None:
    assert table.compare({"a": row()}, {"a": row()}) == []


@pytest.mark.parametrize(
    ("changed", "worse"),
    [
        ({"registers": 101}, True),
        ({"registers": 99}, False),
        ({"spills": 1}, True),
        ({"shared": 8192}, True),
        ({"per": {"unit": "score", "all": 5.5}}, True),
        ({"loops": [{"depth": 0, "counts": {"select": 11, "tensor": 2}}]}, True),
        ({"config": "BLOCK_ROWS=32 num_warps=4"}, False),
        ({"error": "PassManager::run failed"}, True),
    ],
)
def test_a_change_is_found_and_judged(changed: dict[str, Any], worse: bool) -> None:
    found = table.compare({"a": row()}, {"a": row(**changed)})
    assert found and found[0].worse is worse and str(found[0]).startswith("WORSE" if worse else "     ")


def test_rows_come_and_go() -> None:
    assert [str(c).strip() for c in table.compare({"a": row()}, {"b": row()})] == (
        ["a: row there -> -", "b: row - -> there"]
    )
    assert table.compare({"a": row(), "b": row()}, {"a": row()}, partial=True) == []


def test_a_worse_row_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"triton": __import__("triton").__version__, "rows": {"a": row()}}
    monkeypatch.setattr(stored, "load", lambda: before)
    assert report({"a": row()}, partial=False) == 0
    assert report({"a": row(registers=101)}, partial=False) == 1
    assert "WORSE a: registers 100 -> 101" in capsys.readouterr().out
    before["triton"] = "0.0"  # another compiler makes other code: told, not enforced
    assert report({"a": row(registers=101)}, partial=False) == 0
    assert "not enforced" in capsys.readouterr().out


def test_table_file_has_a_line_a_row(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    whole = {"triton": "3", "rows": {"a": row(), "b": row(registers=7)}, "promises": {}}
    stored.save(whole, file)
    assert stored.load(file) == whole
    assert sum(line.startswith(('"a"', '"b"')) for line in file.read_text().splitlines()) == 2


def test_faults() -> None:
    assert faults({"a": row()}) == []
    broken = {
        "error": row(error="no"),
        "spills": row(spills=3, stack=8),
        "shared": row(shared=232449),
        "tensor": row(tensor=[]),
        "small": row(tensor=["HMMA"], config="BLOCK_ROWS=16 num_warps=4"),  # too small for a warpgroup: allowed
        "exact": row(kernel="exact", tensor=["HMMA"]),
        "narrow": row(accesses={"load 32": 4}),
        "strided": row(accesses={"load 32": 4}, signature="row_stride:i32 feature_stride=1"),  # unaligned rows: allowed
    }
    assert [fault.split(":")[0] for fault in faults(broken)] == [
        "error",
        "spills",
        "shared",
        "tensor",
        "exact",
        "narrow",
    ]


def test_page(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("argmax", blocks=132, warps=4, memory=4.3e6).as_data()
    promise = {"text": "argmax quickly", "promised_s": 1e-5, "works": [work]}
    whole = {
        "triton": "3",
        "rows": {
            "encode 4096x4096 K=19 uint8 to float32: a, sm_90": row(),
            "statistics of no quick call: b, sm_90": row(),
            "nearest_code 73728 x 8192 x 256 bfloat16: c, sm_90": {**row(), "error": "it broke"},
        },
        "promises": {"argmax/x": promise},
    }
    monkeypatch.setattr(roofline, "load", lambda: whole)
    text = pages.page(whole)
    assert "| argmax quickly | 10 us | 2 us .. 2 us | memory | argmax |" in text
    assert ": a, sm_90 | rows 64, warps 4 | 5 | 4 |" in text and ": b, sm_90 | rows 64, warps 4 | 5 | 4 |" in text
    assert ": a, sm_90 | rows 64, warps 4 | 100 | 0 | 4096 | 300 | 0: 12 |" in text and "it broke" in text
    assert ": b, sm_90 | rows 64, warps 4 | 100" not in text
    found = roofline.predictions({"copy": 8.6e12})["argmax/x"]
    assert found["overlapped_s"] == pytest.approx(0.5e-6 + 1e-6) and found["promised_s"] == 1e-5
