"""Reads the output of `cuobjdump -sass`: instructions, their classes, and their loops.

A loop is a natural loop of the control flow graph: all blocks on a way back to a header that dominates them. Ranges of
addresses would mislead, because the assembler moves code out of line (a wait that rarely waits).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx

# The class of an opcode, by its first part: the resource that the instruction occupies. Opcodes that are not listed are
# decided by their first letter, see `Instruction.kind`.
KINDS = {
    "tensor": "HMMA HGMMA IMMA IGMMA QGMMA QMMA DMMA BMMA UTCHMMA UTCQMMA UTCIMMA UTCOMMA",
    "float": "FFMA FADD FMUL FFMA2 FADD2 FMUL2 FSWZADD HFMA2 HADD2 HMUL2 FHFMA FHADD FHMUL",
    "double": "DFMA DADD DMUL DSETP",
    "select": "FSETP FSEL FMNMX FMNMX3 FSET FCHK SEL HSETP2 HMNMX2 VHMNMX IMNMX VIMNMX VIMNMX3",
    "multiply": "IMAD IMUL IDP",
    "integer": "IADD3 IADD LOP3 LOP LEA SHF SHL SHR PRMT ISETP VIADD VIADDMNMX MOV IABS SGXT BMSK FLO PLOP3 P2R R2P "
    "LEPC CS2R S2R S2UR R2UR I2FP F2FP VOTE LDC VABSDIFF BREV",
    "special": "MUFU F2F F2I I2F FRND POPC",
    "global": "LDG STG LDGSTS ATOMG ATOM RED REDG LD ST LDL STL UTMALDG UTMASTG UTMAPF UBLKCP CCTL",
    "shared": "LDS STS LDSM STSM ATOMS SHFL MATCH REDUX CREDUX LDTM STTM",
    "other": "BRA BRX JMP CALL RET EXIT BAR BSSY BSYNC BREAK BMOV DEPBAR LDGDEPBAR NOP WARPSYNC WARPGROUP MEMBAR FENCE "
    "ERRBAR SYNCS NANOSLEEP YIELD ELECT VOTEU UTCBAR UTCATOMSWS UTMACMDFLUSH ARRIVES KILL ACQBULK PREEXIT CGAERRBAR "
    "WARPGROUPSET USETMAXREG BPT",
    "uniform": "LDCU",  # and every other opcode that starts with U
}
_KIND = {opcode: name for name, opcodes in KINDS.items() for opcode in opcodes.split()}
CLASSES = tuple(KINDS)  # in the order of every table

_LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
_TARGET = re.compile(r"0x([0-9a-f]+)\s*$")
_NEVER_RETURNS = {"EXIT", "RET", "KILL"}


@dataclass(frozen=True)
class Instruction:
    address: int
    guarded: bool  # under a predicate: may do nothing
    opcode: str  # with its modifiers: LDG.E.128
    operands: str

    @property
    def base(self) -> str:
        return self.opcode.split(".", 1)[0]

    @property
    def kind(self) -> str:
        """The resource that it occupies, one of CLASSES. Raises ValueError for an opcode that KINDS should list."""
        if found := _KIND.get(self.base):
            return found
        if self.base.startswith("U"):
            return "uniform"
        raise ValueError(f"the class of instruction {self.opcode} is not known: add it to KINDS")


@dataclass
class Loop:
    """A natural loop. `own` are its instructions outside of the loops within it."""

    header: int
    addresses: frozenset[int]
    depth: int = 0  # of loops around it
    own: list[Instruction] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether this only waits for a barrier or an allocation."""
        idle = {i.kind for i in self.own} <= {"other", "uniform", "integer", "multiply"}
        return idle and bool({i.base for i in self.own} & {"SYNCS", "UTCATOMSWS", "NANOSLEEP"})


def parse(text: str) -> list[Instruction]:
    """The instructions of one function. Raises ValueError if there is none."""
    found = []
    for line in text.splitlines():
        if match := _LINE.match(line):
            address, guard, opcode, operands = match.groups()
            found.append(Instruction(int(address, 16), guard is not None and guard != "PT", opcode, operands.strip()))
    if not found:
        raise ValueError("no instruction found: is this the output of cuobjdump -sass?")
    return found


def count(instructions: Iterable[Instruction]) -> dict[str, int]:
    """How many of each class, in the order of CLASSES, without the classes that do not occur. NOP is padding."""
    counts = Counter(i.kind for i in instructions if i.base != "NOP")
    return {name: counts[name] for name in CLASSES if counts[name]}


def loops(instructions: list[Instruction]) -> list[Loop]:
    """The loops that do work, in the order of their headers; outer before inner."""
    blocks = _blocks(instructions)
    edges = _edges(blocks)
    graph = networkx.DiGraph([(block, target) for block, targets in edges.items() for target in targets])
    graph.add_nodes_from(edges)
    entry = min(edges)
    graph = graph.subgraph({entry} | networkx.descendants(graph, entry))
    above = networkx.immediate_dominators(graph, entry)
    bodies: dict[int, set[int]] = {}
    for block, header in graph.edges:
        if _dominates(header, block, above):
            inside = networkx.ancestors(graph.subgraph(set(graph) - {header}), block) if block != header else set()
            bodies.setdefault(header, set()).update({header, block} | inside)
    found = [Loop(header, frozenset(body)) for header, body in sorted(bodies.items())]
    for loop in found:
        inner = [other for other in found if other is not loop and other.addresses < loop.addresses]
        loop.depth = sum(loop.addresses < other.addresses for other in found)
        nested = frozenset().union(*(other.addresses for other in inner))
        loop.own = [i for start in sorted(loop.addresses - nested) for i in blocks[start]]
    return [loop for loop in found if not loop.waits]


def _blocks(instructions: list[Instruction]) -> dict[int, list[Instruction]]:
    """Basic blocks by the address of their first instruction."""
    starts = {instructions[0].address}
    for here, after in zip(instructions, instructions[1:], strict=False):
        if _leaves(here):
            starts.add(after.address)
    starts |= {target for i in instructions if (target := _target(i)) is not None}
    blocks: dict[int, list[Instruction]] = {}
    for i in instructions:
        if i.address in starts:
            block = blocks.setdefault(i.address, [])
        block.append(i)
    return blocks


def _leaves(i: Instruction) -> bool:
    return i.base in {"BRA", "BRX", "JMP", "CALL", "BSYNC", *_NEVER_RETURNS} or "COLLECTIVE" in i.opcode


def _target(i: Instruction) -> int | None:
    if i.base in ("BRA", "JMP", "CALL", "BSSY") or "COLLECTIVE" in i.opcode:
        match = _TARGET.search(i.operands)
        return int(match[1], 16) if match else None
    return None


def _edges(blocks: dict[int, list[Instruction]]) -> dict[int, list[int]]:
    """Successors of every block. A call may come back, so what follows it succeeds it as well."""
    starts = sorted(blocks)
    after = dict(zip(starts, starts[1:], strict=False))
    meets: dict[str, int] = {}  # convergence barrier to the address where its threads meet
    edges: dict[int, list[int]] = {}
    for start in starts:
        for i in blocks[start]:
            if i.base == "BSSY":
                meets[_barrier(i)] = _target(i) or 0
        last = blocks[start][-1]
        if last.base == "BRX":
            raise ValueError(f"indirect branch at {last.address:#x}: loops cannot be found")
        goes = [target] if last.base != "BSSY" and (target := _target(last)) is not None else []
        if last.base == "BSYNC":
            goes = [meets.get(_barrier(last), after[start])]
        if _falls_through(last) and start in after:
            goes.append(after[start])
        edges[start] = goes
    return edges


def _barrier(i: Instruction) -> str:
    return i.operands.split(",")[0]


def _falls_through(last: Instruction) -> bool:
    if last.base in _NEVER_RETURNS or last.base == "BSYNC":
        return last.guarded
    if last.base in ("BRA", "JMP"):
        # A uniform or divergence branch names its condition among the operands: BRA.U UP0, 0x1c0
        return last.guarded or "," in last.operands
    return True


def _dominates(header: int, block: int, above: dict[int, int]) -> bool:
    """Whether every way to `block` leads through `header`; `above` are the immediate dominators."""
    while block != header:
        parent = above.get(block, block)
        if parent is None or parent == block:
            return False
        block = parent
    return True
