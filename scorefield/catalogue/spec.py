"""A method is a name with options, as text: `heun:churn=.3`, `karras:rho=5`, `box:2,2,4,4`.

    spec  = NAME [":" arg ("," arg)*]     arg = value | key "=" value

Values without a key fill the options in their order. What a value may be is read off the factory's
signature: a number, `yes` or `no`, one of several words, `none`, numbers joined as in `1-2-2`, or
another spec, as in `restart:solver=heun`. Brackets hold together what has commas of its own:
`restart:solver=(heun:churn=.3,s_max=2),times=2`, `grey:weights=(.3,.6,.1)`.
"""

import contextlib
import inspect
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from scorefield import catalogue
from scorefield.base.entries import Site, site
from scorefield.base.errors import BadInput, unknown
from scorefield.base.signature import by_default
from scorefield.base.source import Made, Named
from scorefield.catalogue.signatures import KINDS, find, parameters

GIVEN = {
    "adversaries": ("module",),
    "autoencoders": ("module", "judge"),
    "datasets": ("cache",),
    "decoders": ("width", "low", "high"),
    "grids": ("schedule", "steps", "start", "stop"),
    "inverse": ("operator", "y", "noise_std"),
    "matchings": ("schedule", "times", "dropout"),
    "measures": ("samples", "reference"),
    "networks": (
        *("shape", "letters", "classes", "vector", "image", "tokens", "vocabulary", "length"),
        "out_channels",
    ),
    "objectives": ("schedule", "times", "weight", "dropout", "coupling"),
    "operators": ("shape",),
    "paths": ("steps",),
    "schedules": ("shape", "deviations"),
    "spaces": ("letters", "ends"),
    "students": ("module", "teacher", "guidance", "dropout", "steps"),
    "texts": ("captions",),
    "views": ("shape",),
    "walks": ("space",),
    "weights": ("schedule",),
    "guides": ("shape",),
}
"""What an entry takes from the place where it is used, and no text says."""

NESTED = {
    "Solver": "solvers",
    "Schedule": "schedules",
    "Times": "times",
    "Weight": "weights",
    "View": "views",
    "Part": "views",
    "Decoder": "decoders",
}
"""What a spec is of that stands for a value of the type, by its name."""
RENAMED = {
    ("bridge", "told"): "conditional",
    ("covering", "share"): "fraction",
    ("rescale", "share"): "fraction",
    ("threshold", "share"): "fraction",
}
"""Options by the names that they had before schema 6 of `config.json`, which are still read."""
CONSTANTS = {"Tableau": {w: site(f"solve.rk:{w.upper()}") for w in ("midpoint", "classic")}}
WORDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "yes|no",
    str: "text",
    types.NoneType: "none",
    inspect.Parameter.empty: "a value",
}


class Spec(NamedTuple):
    """A name, values without a key and values with one, as they were written.

    >>> parsed("heun:.3,s_max=2")
    Spec(name='heun', values=('.3',), options={'s_max': '2'})
    >>> str(parsed("heun : .3, s_max=2"))
    'heun:.3,s_max=2'
    """

    name: str
    values: tuple[str, ...] = ()
    options: Mapping[str, str] = types.MappingProxyType({})

    def __str__(self) -> str:
        args = [*self.values, *(f"{key}={value}" for key, value in self.options.items())]
        return self.name + ":" * bool(args) + ",".join(args)


class Option(NamedTuple):
    """What a spec can say of an entry: the words for its type, and the default as a spec writes it
    (None: it must be given)."""

    name: str
    type: str
    default: str | None


def parsed(text: str) -> Spec:
    """The parts of a spec. Raises BadInput for brackets that do not match, an empty value, an
    option that is given twice, or a value after an option."""
    name, colon, rest = renamed(text).partition(":")
    values: list[str] = []
    options: dict[str, str] = {}
    for arg in parted(rest, ",") if colon else ():
        key, equals, value = (part.strip() for part in arg.partition("="))
        if not arg.strip() or key in options or (options and not equals):
            raise BadInput(
                f"'{text}' has {arg.strip() or 'nothing'} where a value or an option belongs.",
                "Write it like heun:churn=.3,s_max=2, each option once and values first.",
            )
        if equals and re.fullmatch(r"\w+", key):
            options[key] = value
        else:
            values.append(arg.strip())
    return Spec(name.strip(), tuple(values), options)


def renamed(text: str) -> str:
    """A spec, or what is put together of specs, with the options' names of today.

    >>> renamed("cfg:2+rescale:share=.5"), renamed("covering:law=(lognormal:0,1),share=.3")
    ('cfg:2+rescale:fraction=.5', 'covering:law=(lognormal:0,1),fraction=.3')
    """
    parts, names = re.split("([():,+@=])", text), [""]
    for i, at in enumerate(parts[1::2]):
        word = parts[2 * i].strip()
        if at == "(":
            names.append("")
        elif at == ")":
            names = names[:-1] or [""]
        elif at == ":":
            names[-1] = word
        elif at == "=":
            parts[2 * i] = RENAMED.get((names[-1], word), parts[2 * i])
    return "".join(parts)


def parted(text: str, at: str) -> list[str]:
    """`text` between those characters `at` that stand in no brackets."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == at and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise BadInput(f"the brackets of '{text}' do not match.", "Close each that is opened.")
    return parts


def specs(text: str) -> list[str]:
    """The specs of a list with commas: a number or an option belongs to the one before.

    >>> specs("ddim, heun:churn=.3,s_max=2,low:2")
    ['ddim', 'heun:churn=.3,s_max=2', 'low:2']
    """
    found: list[str] = []
    for part in (part.strip() for part in parted(text, ",")):
        if found and ":" in found[-1] and re.match(r"[\d.+-]|\w+=", part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def build(kind: str, spec: Any, **given: Any) -> Any:
    """What a spec of that kind names, built; an object that is no text is passed through.

    `given` is what the place knows, such as the shape of an operator: an entry gets what it takes
    and the text does not say.

    >>> build("solvers", "ddim:1"), build("weights", "min-snr:gamma=3")
    (DDIM(eta=1.0), MinSNR(gamma=3.0))
    >>> build("solvers", "ddim:etta=1")
    Traceback (most recent call last):
    scorefield.base.errors.BadInput: unknown option of ddim 'etta'. Did you mean 'eta'? Known: eta.

    Raises BadInput for an unknown name or option, a value that is not of its type, and one missing.
    """
    if not isinstance(spec, str | Spec):
        return spec
    name, values = bound(kind, spec, **given)
    factory = find(kind, name)
    taken = parameters(kind, name)
    values = {key: value for key, value in given.items() if key in taken} | values
    needed = _needs(taken)
    free = _free(kind, name)
    for key in needed:
        if key not in values and key not in free:
            raise BadInput(f"{name} needs its {key}, which no text says.", "Build it in Python.")
    if missing := [key for key in needed if key not in values]:
        asked = [key for key in needed if key not in given]
        raise BadInput(
            f"'{name}' takes {', '.join(asked)} and got {len(asked) - len(missing)} of them.",
            f"Write {name}:{','.join(map(str.upper, asked))}.",
        )
    if name in getattr(catalogue, kind):
        return factory(**values)
    try:
        return factory(**values)
    except BadInput:
        raise
    except Exception as error:
        fact = f"'{spec}' of an installed package cannot be made: {error!r}."
        raise BadInput(fact, "Give it other options, or repair the package.") from error


def bound(kind: str, spec: str | Spec, **given: Any) -> tuple[str, dict[str, Any]]:
    """The name, and the values of those options that the spec says."""
    spec, texts = _named(kind, spec)
    free = _free(kind, spec.name)
    read: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            read[key] = _read(text, free[key], given)
        except BadInput:
            raise
        except ValueError:
            raise BadInput(
                f"{key} of {spec.name} is '{text}'.", f"It must be {_word(free[key], ' or ')}."
            ) from None
    return spec.name, read


def with_defaults(kind: str, spec: str) -> dict[str, Any]:
    """What the spec says of an entry, and the defaults of the rest."""
    name, read = bound(kind, spec)
    usual = {key: p.default for key, p in parameters(kind, name).items()}
    return {key: v for key, v in usual.items() if v is not inspect.Parameter.empty} | read


def canonical(kind: str, spec: str) -> str:
    """The spec in one form: options by name in their order, defaults left out.

    >>> canonical("solvers", "heun:s_max=2.0,churn=0"), canonical("guides", "cfg:scale=+3")
    ('heun:s_max=2', 'cfg:scale=3')
    """
    read, texts = _named(kind, spec)
    said = {}
    bound(kind, spec)
    for key, hint in _free(kind, read.name).items():
        if key not in texts:
            continue
        if nested := NESTED.get(_called(hint)):
            text = canonical(nested, _bare(texts[key]))
        else:
            text = written(_read(texts[key], hint, {}), hint)
        default = parameters(kind, read.name)[key].default
        if default is inspect.Parameter.empty or text != written(default, hint):
            said[key] = f"({text})" if nested and "," in text else text
    return str(Spec(read.name, (), said))


def options(kind: str, name: str) -> list[Option]:
    """What a spec can say of an entry."""
    taken = parameters(kind, name)
    return [
        Option(key, _word(hint), None if p.default is p.empty else written(p.default, hint))
        for key, hint in _free(kind, name).items()
        for p in [taken[key]]
    ]


def wraps(name: str) -> bool:
    """Whether the guide of that name acts on another one."""
    return any(
        _called(p.annotation) == "Guide"
        for p in parameters("guides", name).values()
        if p.kind is not p.VAR_POSITIONAL
    )


def _named(kind: str, spec: str | Spec) -> tuple[Spec, dict[str, str]]:
    """The spec, and its texts by option."""
    spec = parsed(spec) if isinstance(spec, str) else spec
    free = _free(kind, spec.name)
    if len(spec.values) > len(free):
        raise BadInput(
            f"'{spec.name}' takes {', '.join(free) or 'no values'} and got {len(spec.values)} "
            "values.",
            f"Write it like {spec.name}{':' * bool(free)}{','.join(map(str.upper, free))}.",
        )
    texts = dict(zip(free, spec.values))
    for key, text in spec.options.items():
        if not free:
            raise BadInput(f"{spec.name} has no options, and {key} was given.", "Leave it out.")
        if key not in free:
            raise unknown(f"option of {spec.name}", key, free)
        if key in texts:
            raise BadInput(f"'{spec}' gives {key} twice.", "Give it once.")
        texts[key] = text
    return spec, texts


def _free(kind: str, name: str) -> dict[str, Any]:
    """The types of those options that text can say."""
    return {
        key: p.annotation
        for key, p in parameters(kind, name).items()
        if key not in GIVEN.get(kind, ()) and p.kind is not p.VAR_POSITIONAL
        if _readable(p.annotation)
    }


def _called(hint: Any) -> str:
    """The name of a type, if it has one."""
    return getattr(hint, "__name__", "")


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _readable(hint: Any) -> bool:
    """Whether text can say more than `none`."""
    if members := _members(hint):
        return any(_readable(each) for each in members)
    if _called(hint) in (*NESTED, *CONSTANTS) or get_origin(hint) is Literal:
        return True
    if get_origin(hint) in (tuple, Sequence):
        return _readable(get_args(hint)[0])
    return hint in WORDS and hint is not types.NoneType


def _word(hint: Any, between: str = "|") -> str:
    """The type in words."""
    if members := _members(hint):
        return between.join(_word(m) for m in members if _readable(m) or m is types.NoneType)
    if (name := _called(hint)) in NESTED:
        return f"a {KINDS[NESTED[name]]}"
    if name in CONSTANTS:
        return between.join(CONSTANTS[name])
    if get_origin(hint) is Literal:
        return between.join(map(str, get_args(hint)))
    if get_origin(hint) in (tuple, Sequence):
        return f"{_word(get_args(hint)[0]).removeprefix('a ')}s joined by -"
    return WORDS[hint].replace("|", between)


def _bare(text: str) -> str:
    """Without the brackets around it."""
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text


def _read(text: str, hint: Any, given: Mapping[str, Any]) -> Any:
    """A value from text; a plain ValueError if it is not of the type."""
    for member in sorted(_members(hint), key=lambda m: m is not types.NoneType):
        with contextlib.suppress(ValueError):
            return _read(text, member, given)
    if (name := _called(hint)) in NESTED:
        return build(NESTED[name], _bare(text), **given)
    if name in CONSTANTS or hint is bool or get_origin(hint) is Literal:
        known = CONSTANTS.get(name) or {"yes": True, "no": False, "true": True, "false": False}
        words: dict[str, Any] = {str(a): a for a in get_args(hint)} or known
        if text.lower() not in words:
            raise ValueError
        value = words[text.lower()]
        return value.load() if isinstance(value, Site) else value
    if get_origin(hint) in (tuple, Sequence):
        inner = _bare(text)
        parts = parted(inner, "," if text.startswith("(") else "-") if inner else []
        return tuple(_read(part.strip(), get_args(hint)[0], given) for part in parts)
    if hint is types.NoneType and text.lower() == "none":
        return None
    if hint in (int, float, str):
        return hint(_bare(text))
    if hint is inspect.Parameter.empty:
        return _read(text, int | float | str, given)
    raise ValueError


def written(value: Any, hint: Any = None) -> str:
    """A value of the type as a spec takes it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int | float):
        return repr(value).removesuffix(".0")
    if isinstance(value, str):
        return f"({value})" if set(value) & set(",()") else value
    if isinstance(value, tuple | list):
        parts = [written(part) for part in value]
        joined = bool(parts) and all(part.isalnum() for part in parts)
        return "-".join(parts) if joined else f"({','.join(parts)})"
    kind = NESTED.get(_called(hint))
    places = CONSTANTS.get(_called(hint), {})
    if kind:
        entries = getattr(catalogue, kind)
        places = {name: at for name in entries if (at := entries.place(name))}
    same = (name for name, at in places.items() if value in _meant(at, value))
    return next(same, repr(value))


def _meant(at: Site, like: Any) -> tuple[Any, ...]:
    """What the name of a place may stand for: what is there, and what it makes by default."""
    if isinstance(like, Made | Named):
        return (by_default(at),)
    thing = at.load()
    made = callable(thing) and not at.ready and not _needs(inspect.signature(thing).parameters)
    return (thing, thing()) if made else (thing,)


def _needs(taken: Mapping[str, inspect.Parameter]) -> list[str]:
    """What must be given."""
    return [k for k, p in taken.items() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
