"""JSON as a type: dataclasses, TypedDicts, tuples of numbers. Strict, and all faults at once."""

import json
import math
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin
from typing import get_type_hints as hints

from scorefield.base import BadInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST = 5
"""Faults that one sentence tells."""
WANTED = {
    "bool": "true or false",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "string": "text",
    "tuple": "a list",
}


@lru_cache
def _reader(kind: Any, texts: bool = False) -> "TypeAdapter[tuple[Any]]":
    """With the texts below fields only where they are shown: they are read from the sources."""
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=texts
    )
    return TypeAdapter(tuple[kind], config=config)  # type: ignore[valid-type]


def read_typed(kind: Any, content: Any, where: str) -> Any:
    """`content`, as it came from JSON, as the type `kind`.

    Raises BadInput that names each field at fault by its path, `where` first.

    >>> read_typed(tuple[int, ...], [1, "2"], "x.json: steps")
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: x.json: steps.1 is '2', not a whole number. Correct it.
    """
    text = json.dumps([content])
    try:
        return plainly(kind, json.loads(text)[0])
    except (ArithmeticError, TypeError, ValueError):
        from pydantic import ValidationError
    try:
        return _reader(kind).validate_json(text)[0]
    except ValidationError as error:
        faults = [_fault(fault, where, kind) for fault in error.errors()]
        causes, remedies = zip(*faults[:MOST])
        more = [f"{len(faults) - MOST} more faults"] * (len(faults) > MOST)
        raise BadInput(
            f"{'; '.join((*causes, *more))}.", " ".join(dict.fromkeys(remedies))
        ) from None


def plainly(kind: Any, value: Any) -> Any:
    """A value of JSON as the type, where both are plain: without what finds and words the faults,
    which it takes longer to import than a small network to run.

    Raises an error of any kind for what is at fault, and for what it does not know.
    """
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and type(value) is dict:
        types = hints(kind)
        return kind(**{name: plainly(types.get(name, ...), v) for name, v in value.items()})
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if origin is Annotated:
        return plainly(args[0], value)
    if origin is tuple and type(value) is list:
        each = args[:1] * len(value) if args[1:] == (...,) else args
        return tuple(plainly(own, v) for own, v in zip(each, value, strict=True))
    if origin in (Union, UnionType):
        [own] = [own for own in args if (value is None) == (own in (None, NoneType))]
        return plainly(own, value)
    if type(value) is str:
        value.encode()  # half a letter raises
    known = kind in (bool, int, str, NoneType) and type(value) is kind
    if known or (origin is Literal and type(value) is str and value in args):
        return value
    raise TypeError(f"{value!r} is not plainly {kind}")


def json_schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a dataclass, for forms, with the texts below its fields."""
    schema = _reader(kind, texts=True).json_schema()
    return {**schema["$defs"][kind.__name__], "$defs": schema["$defs"]}


def _fault(fault: Any, where: str, kind: Any) -> tuple[str, str]:
    """Fact and remedy of one fault that the reader found."""
    *steps, name = ("", *map(str, fault["loc"][1:]))
    above = ".".join((where, *steps[1:])).removesuffix(": ")
    path = ".".join((where, *steps[1:], name)).replace(": .", ": ").removesuffix(".")
    rule, more = fault["type"], fault.get("ctx", {})
    if isinstance(own := more.get("error"), BadInput):
        return f"{path}: {own.fact.removesuffix('.')}", own.remedy
    if rule in ("unexpected_keyword_argument", "extra_forbidden"):
        for step in fault["loc"][1:-1]:
            kind = hints(kind).get(step) if isinstance(kind, type) else None
        closest = get_close_matches(name, hints(kind) if isinstance(kind, type) else ())
        hint = f"Did you mean '{closest[0]}'? Else remove it." if closest else "Remove it."
        return f"{above} has an unknown field '{name}'", hint
    if rule == "missing":
        return f"{above} has no field '{name}'", "Restore the file."
    if rule in ("dataclass_type", "dict_type"):
        return f"{path} is not an object", "Restore the file."
    wanted = WANTED.get(rule.split("_")[0]) or more.get("expected") or fault["msg"]
    return f"{path} is {fault['input']!r}, not {wanted}", "Correct it."
