"""JSON as a type: dataclasses, TypedDicts, tuples of numbers. Strict, and all faults at once."""

import json
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_type_hints

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
    from pydantic import ValidationError

    try:
        return _reader(kind).validate_json(json.dumps([content]))[0]
    except ValidationError as error:
        faults = [_fault(fault, where, kind) for fault in error.errors()]
        causes, remedies = zip(*faults[:MOST])
        more = [f"{len(faults) - MOST} more faults"] * (len(faults) > MOST)
        raise BadInput(
            f"{'; '.join((*causes, *more))}.", " ".join(dict.fromkeys(remedies))
        ) from None


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
            kind = get_type_hints(kind).get(step) if isinstance(kind, type) else None
        closest = get_close_matches(name, get_type_hints(kind) if isinstance(kind, type) else ())
        hint = f"Did you mean '{closest[0]}'? Else remove it." if closest else "Remove it."
        return f"{above} has an unknown field '{name}'", hint
    if rule == "missing":
        return f"{above} has no field '{name}'", "Restore the file."
    if rule in ("dataclass_type", "dict_type"):
        return f"{path} is not an object", "Restore the file."
    wanted = WANTED.get(rule.split("_")[0]) or more.get("expected") or fault["msg"]
    return f"{path} is {fault['input']!r}, not {wanted}", "Correct it."
