"""What is asked of a run: in words, and what the words come to there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scorefield
from scorefield.base import BadInput, Watch, quiet
from scorefield.base.errors import exclusive
from scorefield.catalogue.plans import guide_specs, plan
from scorefield.catalogue.spec import parsed
from scorefield.data.readers.table import aligned_cells, aligned_rows
from scorefield.data.table import rows_to_fill
from scorefield.denoise import Denoiser, Precision
from scorefield.run.open import EXACT, Run, device, open_conditions, open_run
from scorefield.run.pairs import is_paired
from scorefield.store import claim
from scorefield.store.files import read_text
from scorefield.use.asked import (
    at_least,
    given_examples,
    how_many,
    idle,
    labels_of,
    numbers,
    warn_absent,
)
from scorefield.use.plan import settings_of


@dataclass(frozen=True)
class Request:
    """What is asked of the run at `run`, by the names of the flags; None is left to the run. A run
    may be open already, with `adapters` of others added, and `conditions` be the arrays of such a
    file.

    `spaces`: whether it may be a run that is not on R^n. For whom: `n`, `seeds`, and `labels` in
    turn, `conditions` or `unconditional`; or one `label` for all; or texts, each a `prompt` or a
    line of the file `prompts`, in turn too. Made larger by a run `cascade`, shown them noised by
    `augment`. How: `steps`, `solver`, `grid`, `guidance`, `guide`, `precision`. Measured in the
    space of `features`. Where to: `out`, `columns`. By whom: so many workers of `ray`.
    """

    run: Path | Run | None
    average: float | None = None
    adapters: str | None = None
    n: int | None = None
    seeds: str | None = None
    labels: str | None = None
    label: str | None = None
    conditions: Path | Mapping[str, Any] | None = None
    prompt: Sequence[str] = ()
    prompts: Path | None = None
    negative: str | None = None
    cascade: Path | None = None
    features: str | None = None
    augment: float | None = None
    unconditional: bool = False
    steps: str | int | None = None
    solver: str | None = None
    grid: str | None = None
    guidance: float | None = None
    guide: str = "cfg"
    precision: Precision | None = None
    batch: int = 256
    ray: int | None = None
    columns: int | None = None
    fill: str | Sequence[Mapping[str, Any]] | None = None
    out: Path | None = None
    watch: Watch = quiet
    spaces: bool = False

    def __post_init__(self) -> None:
        at_least("batch", self.batch)
        at_least("columns", self.columns)
        at_least("ray", self.ray)
        if self.solver:
            self._take_apart(self.solver)

    def _take_apart(self, solver: str) -> None:
        """A solver that is a whole plan, `solver@grid/steps`, brings its grid and steps."""
        solver, *others = plan(solver)
        object.__setattr__(self, "solver", solver)
        for name, own in zip(("grid", "steps"), others):
            given = getattr(self, name)
            if own is not None and given is not None:
                raise BadInput(f"`{name}` is {given}, and the plan says {own}.", "Give it once.")
            object.__setattr__(self, name, own if given is None else given)

    @cached_property
    def path(self) -> Path:
        if self.run is None:
            raise BadInput("`run` is missing.", "Give it, or one of its pictures as `like`.", "run")
        return self.run.path if isinstance(self.run, Run) else self.run

    @cached_property
    def opened(self) -> Run:
        if isinstance(self.run, Run):
            return self.run
        own = self.average, self.precision, self.spaces, self.adapters
        return open_run(self.path, *own)

    @cached_property
    def denoiser(self) -> Denoiser:
        """The run's, on the device: work begins. BadInput of a run that begins in a picture."""
        self._check_begins()
        return self.opened.denoiser.to(device())

    def _check_begins(self) -> None:
        if is_paired(self.opened.config, self.opened.info):
            raise BadInput(
                f"{self.path} was trained on pairs, and begins in one end of them.",
                f"Use scorefield restore {self.path}.",
                "run",
            )

    def exact(self) -> "Request":
        """The same in the arithmetic for what walks the flow both ways."""
        return replace(self, precision=EXACT)

    @cached_property
    def mean(self) -> Denoiser:
        """The same, as E[x0 | x]. BadInput of a student whose D is where it leads."""
        manner = self.opened.denoiser.manner
        if manner and not manner.has_mean:
            raise BadInput(
                f"{self.path} only makes samples, by {manner.plan}: it has no flow and no "
                "posterior mean.",
                "Give a diffusion run, or a student of meanflow or shortcut.",
                "run",
            )
        return self.denoiser

    @cached_property
    def classifies(self) -> bool:
        """Whether a classifier guides."""
        return any(parsed(part).name == "classifier" for part in guide_specs(self.guide))

    @property
    def settings(self) -> dict[str, Any]:
        """Those of `plan_of`."""
        self._check_begins()
        return settings_of(self.opened, self.steps, self.solver, self.grid, self.guidance)

    @cached_property
    def classes(self) -> list[int] | None:
        """The class indices, with a warning of those that the run has seen no example of."""
        info = self.opened.info
        labels = None if self.labels is None else labels_of(self.labels, info.classes)
        warn_absent(labels, info)
        return labels

    @cached_property
    def cond(self) -> dict[str, Tensor] | None:
        """The conditions that are given."""
        self._check_begins()
        if not self.texts:
            idle("negative", self.negative, "there is no `prompt`")
            if self.rows:
                return rows_to_fill(self.rows, self.opened.info.columns, self.filling)
            given, decodes = self.conditions, self.opened.config.data.decoder is not None
            if decodes and isinstance(given, Path) and given.suffix != ".npz":
                x0, _ = given_examples(self.opened, given, "conditions", fit=True)
                return self.opened.seen(x0)
            return None if given is None else open_conditions(self.opened, given)
        others = {"conditions": self.conditions, "unconditional": self.unconditional}
        exclusive("prompt", self.texts, **others)
        return self.opened.cond(self.texts, self.negative)

    @cached_property
    def rows(self) -> list[tuple[str, ...]]:
        """Those of a table that are to be filled in."""
        info = self.opened.info
        if self.fill is None or info.space != "table":
            return []
        if isinstance(self.fill, str):
            return aligned_rows(Path(self.fill), info.columns, "fill")
        return aligned_cells(self.fill, info.columns, "`fill`", "fill")

    @property
    def filling(self) -> str:
        """What is filled in, in words."""
        rows = how_many(len(self.fill or ()), "row")
        return f"`fill` {self.fill if isinstance(self.fill, str) else f'of {rows}'}"

    @cached_property
    def texts(self) -> list[str]:
        """What is asked for in words."""
        lines = [] if self.prompts is None else read_text(self.prompts).splitlines()
        found = [*self.prompt, *(line.strip() for line in lines if line.strip())]
        if self.prompts is not None and not found:
            raise BadInput(f"`prompts` {self.prompts} is empty.", "Write a text a line.", "prompts")
        return found

    def chosen_seeds(self, default: int = 100, least: int = 1) -> list[int]:
        """Seeds from `n` and `seeds`: one per sample, at least so many; by default 0 to n-1, and
        `default` of them.

        >>> Request(None, seeds="3,5").chosen_seeds(), Request(None, n=2).chosen_seeds()
        ([3, 5], [0, 1])
        """
        n = self.n
        at_least("n", n)
        count = default if n is None else n
        seeds = [*range(count)] if self.seeds is None else numbers(self.seeds, "seeds")
        if len(seeds) < least:
            raise BadInput("one sample is asked for.", f"Give `n` or `seeds` of at least {least}.")
        if n is not None and len(seeds) != n:
            raise BadInput(
                f"`seeds` has {len(seeds)} seeds and `n` asks for {n} samples.",
                "Give as many seeds as samples, or only one of the two.",
                "seeds",
            )
        return seeds

    def place(self, default: str | Path, *suffixes: str) -> Path:
        """The file to write, of one of these kinds, tried before any work is done."""
        out = self.out or Path(default)
        if out.suffix not in suffixes:
            fact = f"`out` is {out}."
            raise BadInput(fact, f"Give a name that ends in {' or '.join(suffixes)}.", "out")
        claim(out)
        return out


def versions() -> dict[str, str]:
    """What a measurement was made with."""
    return {"scorefield": scorefield.__version__, "torch": torch.__version__}
