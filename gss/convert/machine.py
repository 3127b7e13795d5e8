"""A pickle machine that can build plain data and nothing else.

The standard library's unpickler resolves names by importing modules and calls what it finds. This one resolves every
name through a function of the caller, and calls nothing but the `Constructor` that the function returns. It builds
None, booleans, numbers, strings, bytes, tuples, lists, dicts and sets; memory and time are bounded by the number of
instructions, which is limited.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from gss.convert.numpy_values import NumberArray, NumberType

# A checkpoint of the largest official model takes about a quarter of a million.
MAX_INSTRUCTIONS = 4_000_000

_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8",
})  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Constructor:
    """What a pickle may call: `build` receives the arguments as they stand in the file and has to check them."""

    name: str
    build: Callable[..., Any]


@dataclass(frozen=True)
class InertClass:
    """A class known by name only; its instances become `Inert`."""

    name: str


@dataclass
class Inert:
    """An instance of a class that was not imported: the class's full name and the attributes in the file."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Machine:
    """`find_global` turns "module.name" into a Constructor, an InertClass or a plain value; `load_persistent` turns a
    persistent id into a value. Both raise ValueError for what they do not know."""

    find_global: Callable[[str], Any]
    load_persistent: Callable[[Any], Any]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, stream: BytesIO) -> Any:
        """The object pickled at the position of `stream`, which ends up behind it.

        Raises ValueError for truncated or malformed pickles, and for every instruction or name that is not allowed.
        """
        for index, (opcode, argument, position) in enumerate(pickletools.genops(stream)):
            if index >= MAX_INSTRUCTIONS:
                raise ValueError(f"pickle: more than {MAX_INSTRUCTIONS} instructions")
            try:
                self._step(opcode.name, argument)
            except ValueError as error:
                raise ValueError(f"pickle, byte {position}: {error}") from error
        # genops ends at STOP or raises.
        return self._pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME", "STOP"):
            if name == "PROTO" and argument > 5:
                raise ValueError(f"pickle protocol {argument}; expected at most 5")
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            if argument not in self.memo:
                raise ValueError(f"nothing was remembered as {argument}")
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in _TUPLES:
            stack.append(tuple(self._pop_many(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name in ("EMPTY_LIST", "LIST"):
            stack.append(self._pop_to_mark() if name == "LIST" else [])
        elif name in ("EMPTY_DICT", "DICT"):
            items = self._pop_to_mark() if name == "DICT" else []
            stack.append({})
            self._set_items(items)
        elif name in ("EMPTY_SET", "FROZENSET"):
            items = self._pop_to_mark() if name == "FROZENSET" else []
            stack.append(frozenset(map(plain_key, items)) if name == "FROZENSET" else set())
        elif name in ("APPEND", "APPENDS"):
            items = self._pop_many(1) if name == "APPEND" else self._pop_to_mark()
            self._top_of(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            self._set_items(self._pop_many(2) if name == "SETITEM" else self._pop_to_mark())
        elif name == "ADDITEMS":
            items = self._pop_to_mark()
            self._top_of(set).update(map(plain_key, items))
        elif name == "GLOBAL":
            stack.append(self.find_global(argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            module, attribute = self._pop_many(2)
            if not isinstance(module, str) or not isinstance(attribute, str):
                raise ValueError("a global whose name is no string")
            stack.append(self.find_global(f"{module}.{attribute}"))
        elif name == "INST":
            # Either the name is refused, or the instruction is: torch.save does not write it.
            self.find_global(argument.replace(" ", ".", 1))
            raise ValueError("instruction INST is not allowed")
        elif name == "REDUCE":
            self._call()
        elif name == "NEWOBJ":
            kind, arguments = self._pop_many(2)
            if not isinstance(kind, InertClass) or arguments != ():
                raise ValueError(f"an instance of {describe(kind)} with arguments is not allowed")
            stack.append(Inert(kind.name))
        elif name == "BUILD":
            self._set_state()
        elif name == "BINPERSID":
            stack.append(self.load_persistent(self._pop()))
        elif name in ("POP", "DUP"):
            value = self._pop()
            stack.extend([value, value] if name == "DUP" else [])
        elif name == "POP_MARK":
            self._pop_to_mark()
        else:
            raise ValueError(f"instruction {name} is not allowed")

    def _call(self) -> None:
        called, arguments = self._pop_many(2)
        if not isinstance(called, Constructor) or not isinstance(arguments, tuple):
            raise ValueError(f"a call of {describe(called)} is not allowed")
        try:
            self.stack.append(called.build(*arguments))
        except (TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"wrong arguments for {called.name}: {error}") from error

    def _set_state(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, (NumberType, NumberArray)):
            target.set_state(state)
            return
        if not isinstance(state, dict):
            raise ValueError(f"attributes as {describe(state)}; expected a dict")
        if isinstance(target, Inert):
            # Shared, not copied, and once only: a file could have one large state set many times.
            if target.attributes:
                raise ValueError(f"attributes of {describe(target)} given twice")
            target.attributes = state
        elif not isinstance(target, dict):
            raise ValueError(f"attributes of {describe(target)} are not allowed")
        # What an ordered dict has beside its items is the version table of a state dict: no part of the weights.

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("a key without a value")
        target = self._top_of(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[plain_key(key)] = value

    def _top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack is empty")
        return self.stack[-1]

    def _top_of(self, kind: type) -> Any:
        top = self._top()
        if not isinstance(top, kind):
            raise ValueError(f"expected a {kind.__name__} to add to, got {describe(top)}")
        return top

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()

    def _pop_many(self, count: int) -> list[Any]:
        """The last `count` values, oldest first."""
        values = [self._pop() for _ in range(count)]
        return values[::-1]

    def _pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("no mark on the stack")
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items


def plain_key(key: Any) -> Any:
    """`key` if it may stand in a dict or a set: text, bytes, a float, None, a 64-bit integer or an inert class.

    The hash of nested tuples can take exponential time, and long integers can be chosen to collide.
    """
    if isinstance(key, int) and not -(2**63) <= key < 2**63:
        raise ValueError("a dict key of more than 64 bits")
    if key is not None and not isinstance(key, (str, bytes, int, float, InertClass)):
        raise ValueError(f"{describe(key)} as a dict key is not allowed")
    return key


def describe(value: Any) -> str:
    """A short name for a message; never the text of the value, which a hostile file chooses."""
    return value.name[:200] if isinstance(value, (Constructor, Inert, InertClass)) else type(value).__name__
