"""Factories by name, each imported when it is first asked for."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from pkgutil import resolve_name
from typing import Any, NamedTuple

Factory = Callable[..., Any]


class Site(NamedTuple):
    """Where a factory is, `module:name`, and the defaults that it is made under: other ones than
    its own, by name. `ready`: what is there is what the factory makes."""

    where: str
    defaults: tuple[tuple[str, Any], ...] = ()
    ready: bool = False

    @property
    def parts(self) -> tuple[str, str]:
        """The module and the name."""
        module, _, name = self.where.partition(":")
        return module, name

    def load(self) -> Factory:
        """The factory, always the same; under other defaults its name, text and options are still
        its own."""
        return _loaded(self)


@cache
def _loaded(place: Site) -> Factory:
    make = resolve_name(place.where)
    if place.ready:
        return lambda: make
    if not place.defaults:
        return make
    defaults = {key: _there(value) for key, value in place.defaults}

    @wraps(make, updated=())
    def build(**more: Any) -> Any:
        return make(**defaults | more)

    own = inspect.signature(make)
    kept = (p.replace(default=defaults.get(p.name, p.default)) for p in own.parameters.values())
    vars(build)["__signature__"] = own.replace(parameters=list(kept))
    return build


def _there(value: Any) -> Any:
    return value.load() if isinstance(value, Site) else value


def site(where: str, ready: bool = False, **defaults: Any) -> Site:
    """`module:name` below scorefield, under other defaults.

    >>> site("solve.ddim:DDIM").load(), site("solve.ddim:DDIM", eta=0.5).load()()
    (<class 'scorefield.solve.ddim.DDIM'>, DDIM(eta=0.5))
    """
    return Site(f"scorefield.{where}", tuple(defaults.items()), ready)


class Entries(Mapping[str, Factory], dict[str, Any]):  # type: ignore[misc]
    """A dict of factories by name, which keeps places until a factory is asked for."""

    def __init__(self, places: Mapping[str, str | Site | Factory]) -> None:
        dict.__init__(self, {k: site(v) if isinstance(v, str) else v for k, v in places.items()})

    def __getitem__(self, name: str) -> Factory:
        return _there(dict.__getitem__(self, name))

    def place(self, name: str) -> Site | None:
        """Where an entry is, if it is one of ours."""
        kept = dict.__getitem__(self, name)
        return kept if isinstance(kept, Site) else None

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self)

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name)

    def __len__(self) -> int:
        return dict.__len__(self)

    def __or__(self, other: Any) -> Any:
        return {**self} | dict(other)
