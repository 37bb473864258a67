"""Samples again, as a picture says that they were made: to the bit, where nothing else is asked."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scorefield.base import BadInput
from scorefield.catalogue.plans import guide_specs
from scorefield.catalogue.spec import parsed
from scorefield.store import read_tag
from scorefield.use.asked import Who

WORDS: dict[str, Any] = {
    "average": float | None, "seeds": str, "labels": str | None, "unconditional": bool,
    "steps": int, "solver": str, "grid": str, "guidance": float | int | None, "guide": str,
    "batch": int, "columns": int | None, "precision": str,
}  # fmt: skip
"""What a picture carries of an order."""
DECIDING = {"checkpoint": "weights", "conditions": "conditions", "grid": "grid", "guide": "guide"}
"""What must be the same in both jobs, beside the words."""


class Like(NamedTuple):
    """A picture; the `job.json` of what it shows; and which of the samples, if it shows but one."""

    picture: Path
    job: Mapping[str, Any]
    index: int | None = None


class Order(NamedTuple):
    """What is asked for, in words."""

    run: Path | None
    who: Who
    settings: dict[str, Any]
    guide: str = "cfg"
    batch: int = 256
    columns: int | None = None
    out: Path | None = None
    average: float | None = None
    like: Like | None = None

    @property
    def classifies(self) -> bool:
        return any(parsed(part).name == "classifier" for part in guide_specs(self.guide))

    @property
    def single(self) -> int | None:
        """The index of the only one of the samples that is meant."""
        return self.like.index if self.like else None

    def words(self, job: Mapping[str, Any], grid: str, conditional: bool) -> dict[str, Any]:
        """What a picture carries: this order, with what it left to the run said, and the job."""
        scale = self.settings["guidance"]
        if self.guide == "cfg":
            scale = job["guidance"] if conditional else None
        said = {
            "average": self.average, "unconditional": self.who.unconditional, "grid": grid,
            "guidance": scale, "guide": self.guide, "columns": self.columns,
        }  # fmt: skip
        same = ("seeds", "labels", "steps", "solver", "batch", "precision")
        said |= {name: job[name] for name in same}
        return {"run": str(self.run), "order": said, "job": dict(job)}


def again(order: Order, picture: Path) -> Order:
    """The order by which a picture was made, but for what this one asks otherwise.

    Raises BadInput for a picture that does not say how it was made.
    """
    told, who = read_tag(picture), order.who
    try:
        said = {"precision": "fp32", **told["order"]}  # earlier versions knew no other
        job, index = told["job"], told.get("index")
        whole = all(isinstance(said[name], kind) for name, kind in WORDS.items())
        if not whole or not isinstance(index, int | None):
            raise TypeError
        job = {name: job[name] for name in (*DECIDING, "version")}
        run = Path(told["run"])
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{picture} does not say whole how it was made.",
            "Give the settings themselves.",
            "like",
        ) from error
    own = who.n is None and who.seeds is None
    return Order(
        order.run or run,
        Who(
            who.n,
            said["seeds"] if own else who.seeds,
            said["labels"] if who.labels is None else who.labels,
            who.conditions,
            who.unconditional or said["unconditional"],
        ),
        {name: said[name] if v is None else v for name, v in order.settings.items()},
        said["guide"] if order.guide == "cfg" else order.guide,
        said["batch"] if order.batch == Order._field_defaults["batch"] else order.batch,
        said["columns"] if order.columns is None else order.columns,
        order.out,
        said["average"] if order.average is None else order.average,
        Like(picture, job, index if own else None),
    )


def check_like(order: Order, job: Mapping[str, Any]) -> None:
    """Raise BadInput where what a picture was made with is another in this job, or known part of
    it."""
    if order.like is None:
        return
    picture, then, _ = order.like
    for name, words in DECIDING.items():
        if name in job and then[name] != job[name]:
            raise BadInput(
                f"{picture} was made with other {words}: {then[name] or 'none'}, and now it is "
                f"{job[name] or 'none'}.",
                "Give what it was made with, or leave `like` out.",
                "like",
            )
    if then["version"] != job.get("version", then["version"]):
        text = f"{picture} was made by version {then['version']}, which may round otherwise"
        warnings.warn(text, stacklevel=2)
