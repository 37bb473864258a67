"""Checkpoints that are pickles, read without running anything that they name.

A pickle is a program for a stack machine. Here its words are parsed by `pickletools`, which never
executes them, and a machine of our own builds lists, dicts, numbers and tensors. A name that it
asks for is a word: those in NAMES have a meaning of ours, modules of torch become `Inert`, their
attributes by name, and any other is refused by its name. No class of a file, and no source that it
carries, is ever looked at.

Files of torch.save, zipped or older, and those of EDM (a module's attributes, tensors inside).
"""

import io
import math
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.store.files import read_bytes

LONGEST = 20_000_000
"""Words of a pickle."""
MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16,
         "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32,
         "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
         "Bool": torch.bool}  # fmt: skip
INERT = re.compile(
    r"torch\.nn\.modules\.[\w.]+|dnnlib(\.util)?\.EasyDict|torch\.nn\.parameter\.\w+"
)


class Name(NamedTuple):
    """What a pickle asks for: a word."""

    text: str


class Inert(NamedTuple):
    """An object of a file: the name of its class, and its attributes."""

    kind: str
    state: dict[str, Any]


class Storage(NamedTuple):
    """Bytes of numbers of one type; `data` has one entry once they are read."""

    dtype: torch.dtype
    count: int
    data: list[bytes]


class Strided(NamedTuple):
    """A tensor before its storage is read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Refused(Exception):
    pass


def read_checkpoint(file: Path) -> Any:
    """What a checkpoint holds: containers, numbers, tensors and `Inert` objects.

    Raises BadInput for a file that is none, is cut short, or asks for a name outside the list.
    """
    content = read_bytes(file)
    try:
        return _resolved(_read(content))
    except _Refused as error:
        raise BadInput(
            f"{file} asks for {error}, which is not run.", "Only plain tensors are read of it."
        ) from None
    except (
        ValueError, IndexError, KeyError, TypeError, struct.error, zipfile.BadZipFile, EOFError,
        AttributeError, OverflowError, RuntimeError, NotImplementedError, RecursionError,
    ) as error:  # fmt: skip
        if isinstance(error, BadInput):
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(f"{file} is no checkpoint that can be read: {first[:120]}.",
                       "Restore it.") from None  # fmt: skip


def _read(content: bytes) -> Any:
    if content[:2] == b"PK":
        return _read_zip(content)
    stream = io.BytesIO(content)
    first = _machine(stream, {})
    return _read_older(stream) if first == MAGIC else first


def _read_zip(content: bytes) -> Any:
    """Of torch.save: data.pkl, and the bytes of each storage in a member of its own."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in names.values()):
            raise ValueError("its members are compressed")
        (head,) = [name for name in names if name.endswith("/data.pkl")]
        folder, storages = head.removesuffix("data.pkl"), {}
        made = _machine(io.BytesIO(archive.read(head)), storages)
        for key, storage in storages.items():
            storage.data.append(archive.read(f"{folder}data/{key}"))
    return made


def _read_older(stream: io.BytesIO) -> Any:
    """Of torch.save before zip: a version, the system, the object, the keys, the bytes."""
    storages: dict[str, Storage] = {}
    for _ in ("version", "system"):
        _machine(stream, {})
    made = _machine(stream, storages)
    for key in _machine(stream, {}):
        (count,) = struct.unpack("<q", stream.read(8))
        storage = storages[str(key)]
        if count != storage.count:
            raise ValueError("a storage has another length than it says")
        storage.data.append(stream.read(count * storage.dtype.itemsize))
    return made


def _machine(stream: io.BytesIO, storages: dict[str, Storage]) -> Any:
    """Run one pickle of the stream on a stack of inert values."""
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[Any, Any] = {}
    for count, (op, arg, _) in enumerate(pickletools.genops(stream)):
        if count > LONGEST:
            raise ValueError("it is too long")
        name = op.name
        if name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in VALUES:
            stack.append(arg)
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name in GATHERED:
            items, stack = stack, marks.pop()
            GATHERED[name](stack, items)
        elif name in STEPS:
            STEPS[name](stack)
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if arg is None else int(arg)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg or 0)])
        elif name == "GLOBAL":
            stack.append(_named(*str(arg).split(" ", 1)))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), storages))
        elif name == "STOP":
            (made,) = stack
            return made
        elif name not in ("PROTO", "FRAME"):
            raise _Refused(f"the operation {name}")
    raise EOFError("it is cut short")


def _named(module: str, name: str) -> Name:
    whole = f"{module}.{name}"
    if whole not in NAMES and not INERT.fullmatch(whole) and not _kind_of(whole):
        raise _Refused(whole)
    return Name(whole)


def _kind_of(name: str) -> torch.dtype | None:
    found = re.fullmatch(r"torch\.(?:cuda\.)?(\w+)Storage", name)
    return KINDS.get(found[1]) if found else None


def _storage(record: Any, storages: dict[str, Storage]) -> Storage:
    word, kind, key, _, count, *_ = record
    dtype = _kind_of(kind.text)
    if word != "storage" or dtype is None or not isinstance(count, int) or count < 0:
        raise ValueError("it has a storage of no known kind")
    return storages.setdefault(str(key), Storage(dtype, count, []))


def _reduce(stack: list[Any]) -> None:
    args, name = stack.pop(), stack.pop()
    if not isinstance(name, Name) or name.text not in NAMES:
        raise _Refused(f"a call of {getattr(name, 'text', type(name).__name__)}")
    stack.append(NAMES[name.text](*args))


def _new(stack: list[Any]) -> None:
    _, name = stack.pop(), stack.pop()
    if not isinstance(name, Name):
        raise ValueError("it makes an object of no class")
    stack.append(Inert(name.text, {}) if "EasyDict" not in name.text else {})


def _build(stack: list[Any]) -> None:
    state = stack.pop()
    if isinstance(stack[-1], Inert) and isinstance(state, dict):
        stack[-1].state.update(state)
    elif not isinstance(stack[-1], dict):  # whose attributes beside its items say nothing
        raise ValueError("it gives attributes to what has none")


def _tuple(n: int) -> Callable[[list[Any]], None]:
    def gather(stack: list[Any]) -> None:
        items = tuple(stack[-n:])
        if len(items) < n:
            raise IndexError("its stack is empty")
        stack[-n:] = [items]

    return gather


def _pairs(into: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    into.update(zip(items[::2], items[1::2]))
    return into


def _setitem(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _setitems(stack: list[Any], items: list[Any]) -> None:
    _pairs(stack[-1], items)


CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "STRING", "BINSTRING", "SHORT_BINSTRING",
}  # fmt: skip
GATHERED: dict[str, Callable[[list[Any], list[Any]], None]] = {
    "LIST": lambda stack, items: stack.append(items),
    "TUPLE": lambda stack, items: stack.append(tuple(items)),
    "DICT": lambda stack, items: stack.append(_pairs({}, items)),
    "FROZENSET": lambda stack, items: stack.append(frozenset(items)),
    "APPENDS": lambda stack, items: stack[-1].extend(items),
    "ADDITEMS": lambda stack, items: stack[-1].update(items),
    "SETITEMS": _setitems,
    "POP_MARK": lambda stack, items: None,
}
STEPS: dict[str, Callable[[list[Any]], Any]] = {
    "POP": lambda stack: stack.pop(),
    "DUP": lambda stack: stack.append(stack[-1]),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": lambda stack: stack[-2].append(stack.pop()),
    "SETITEM": _setitem,
    "STACK_GLOBAL": lambda stack: stack.append(_named(*(stack.pop(-2), stack.pop()))),
    "REDUCE": _reduce,
    "NEWOBJ": _new,
    "BUILD": _build,
}


def _inner(content: bytes) -> Any:
    """A storage in a file of its own inside this one."""
    return _read(content)


def _scalar(dtype: Any, content: bytes = b"") -> Any:
    return np.frombuffer(content, np.dtype(dtype.state["code"]), 1)[0].item()


def _dtype(code: str, *_: Any) -> Inert:
    if not re.fullmatch(r"[<>|=]?[biuf]\d{1,2}", str(code)):
        raise ValueError(f"it has numbers of type {code}")
    return Inert("dtype", {"code": code})


def _persistent(meta: Mapping[str, Any]) -> Inert:
    """EDM's object: its class by name and its attributes; the source beside them is dropped."""
    state = meta.get("state") or {}
    if not isinstance(state, dict):
        raise ValueError("it has an object without attributes")
    return Inert(str(meta.get("class_name")), dict(state))


NAMES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda items=(): dict(items),
    "torch._utils._rebuild_tensor_v2": lambda storage, offset, size, stride, *_: Strided(
        storage, offset, tuple(size), tuple(stride)
    ),
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.storage._load_from_bytes": _inner,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda *words: str(words[0]),
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "dnnlib.util.EasyDict": lambda *items: {},
}


def _resolved(made: Any) -> Any:
    """The same with tensors for `Strided`, each container once, without recursion."""
    if isinstance(made, Strided):
        return _tensor(made)
    done, waiting = set[int](), [made]
    while waiting:
        thing: Any = waiting.pop()
        thing = thing.state if isinstance(thing, Inert) else thing
        if id(thing) in done or not isinstance(thing, dict | list):
            continue
        done.add(id(thing))
        own: Any = thing
        for key, value in list(own.items() if isinstance(own, dict) else enumerate(own)):
            own[key] = _tensor(value) if isinstance(value, Strided) else value
            waiting.append(own[key])
    return made


def _tensor(at: Strided) -> Tensor:
    """A copy of the numbers, within the storage or not at all."""
    storage, size, stride = at.storage, at.size, at.stride
    whole = all(isinstance(n, int) and n >= 0 for n in (*size, *stride, at.offset))
    last = at.offset + sum((n - 1) * step for n, step in zip(size, stride))
    if not whole or len(size) != len(stride) or not storage.data:
        raise ValueError("a tensor has no storage")
    (content,) = storage.data[:1]
    if len(content) != storage.count * storage.dtype.itemsize:
        raise ValueError("a storage is cut short")
    if math.prod(size) > storage.count or (math.prod(size) and last >= storage.count):
        raise ValueError("a tensor lies outside its storage")
    if not math.prod(size):
        return torch.empty(size, dtype=storage.dtype)
    flat = torch.frombuffer(bytearray(content), dtype=storage.dtype)
    return flat.as_strided(size, stride, at.offset).clone()


def state_of(module: Inert, prefix: str = "") -> dict[str, Tensor]:
    """The parameters and buffers of a module and those below it, by name."""
    found: dict[str, Tensor] = {}
    for group in ("_parameters", "_buffers"):
        for name, tensor in (module.state.get(group) or {}).items():
            if isinstance(tensor, Tensor):
                found[f"{prefix}{name}"] = tensor
    for name, below in (module.state.get("_modules") or {}).items():
        if isinstance(below, Inert):
            found |= state_of(below, f"{prefix}{name}.")
    return found
