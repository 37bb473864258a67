"""The flags that verbs share: each has one type and one text, wherever it occurs.

A verb's options inherit those that it has in common with others, and may set another default.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, dataclass_transform

import tyro

if TYPE_CHECKING:
    from scorefield.cli.bar import Bar
    from scorefield.use.request import Request

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is there or not, without a --no- twin."""


def flag(text: str) -> object:
    """The text of a flag to which verbs give defaults of their own."""
    return tyro.conf.arg(help=text)


StepCount = Annotated[str | None, flag("Solver steps: 20, or 5,10,20 where several are compared.")]
SolverSpec = Annotated[
    str | None,
    flag(
        "Solver, with options if you like: heun:churn=.3 (see scorefield catalogue solvers); or a "
        "plan with grid and steps: heun@karras/10."
    ),
]
GridSpec = Annotated[
    str | None,
    flag(
        "Noise levels visited, with options if you like: karras:rho=5 (see scorefield catalogue "
        "grids); or the name of a grid that scorefield fit-grid wrote, which brings its steps, "
        "solver and guidance."
    ),
]
GuidanceScale = Annotated[
    float | None, flag("Scale of guidance; 1 is none (of a classifier: Bayes's).")
]
Arithmetic = Annotated[
    Literal["fp32", "bf16"] | None,
    flag("Arithmetic of the network (default: that of training, where it is the faster here)."),
]
MethodName = Annotated[str, flag("By which method (see above).")]
RowCount = Annotated[int | None, flag("How many (default: as many as seeds).")]
ClassList = Annotated[str | None, flag("Classes, in turn: 0-9, 3,5 or names.")]
OneClass = Annotated[
    str | None, flag("Class of all examples: 3 or a name (default: the file's, else none).")
]
SeedNumber = Annotated[int, flag("Seed of all that is drawn.")]
ImageCount = Annotated[int | None, flag("Images seen by training, repeats counted.")]
FeatureSpace = Annotated[
    str | None,
    flag(
        "Feature space of another network: efficientnet-lite0, of scorefield[features], or "
        "resnet50:path=DIR (see scorefield catalogue extractors; default: the judge's)."
    ),
]
OutPath = Annotated[Path | None, flag("What to write (None: a place in the run folder, or by it).")]
Source = Annotated[
    str | None, flag("A picture, an .npz or .npy of examples x, or test:INDEX of held-out data.")
]
BatchSize = Annotated[int, flag("Examples at a time; bounds memory.")]
Strength = Annotated[float | None, flag("How far it goes from the picture (see above).")]
CondFile = Annotated[Path | None, flag("An .npz of conditions, whose rows are taken in turn.")]
NoCond = Annotated[Switch, flag("Without any class or other condition.")]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Flags:
    """Flags are the fields of a frozen dataclass, which is what inherits this."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


class Spoken(Flags):
    """Of every verb."""

    json: Switch = False
    """Print one JSON object instead of text."""


class OnRun(Spoken):
    """Of a verb that works on a run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""

    def request(self, bar: "Bar", **more: Any) -> "Request":
        """What is asked of the run by these flags, and `more` that is none of them."""
        from scorefield.use.request import Request

        names = {field.name for field in fields(Request)}
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name in names}
        return Request(**{**said, "watch": bar, **more})


class Averaged(OnRun):
    """Of a verb that may work with another average of the weights."""

    average: float | None = None
    """Length of an average of the weights that scorefield ema made (default: that of training)."""


class Sampling(Flags):
    """How samples are made; what is not given is the run's own."""

    steps: StepCount = None
    solver: SolverSpec = None
    grid: GridSpec = None
    guidance: GuidanceScale = None
    precision: Arithmetic = None


class Rows(Flags):
    """For whom samples are made."""

    n: RowCount = None
    seeds: str | None = None
    """Seeds, one each: 0-99 or 1,2,7 (default: 0 to n-1)."""
    labels: ClassList = None


class ByFlow(Averaged):
    """Of a verb that walks the flow both ways, by a deterministic solver of one step."""

    label: OneClass = None
    steps: StepCount = "12"
    solver: SolverSpec = "rk4"
