"""Samples again, as a picture says that they were made: to the bit, where nothing else is asked."""

import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from scorefield.base import BadInput
from scorefield.store import read_tag
from scorefield.use.plan import grid_for
from scorefield.use.request import Request

WORDS: dict[str, Any] = {
    "average": float | None, "seeds": str, "labels": str | None, "unconditional": bool,
    "steps": int, "solver": str, "grid": str, "guidance": float | int | None, "guide": str,
    "batch": int, "columns": int | None, "precision": str, "prompt": list, "negative": str | None,
    "cascade": str | None, "augment": float | int | None, "adapters": str | None,
}  # fmt: skip
"""What a picture carries of a request."""
EARLIER = {"precision": "fp32", "prompt": [], "negative": None, "cascade": None,
           "augment": None, "adapters": None}  # fmt: skip
"""What pictures of versions say that knew no other."""
DECIDED = ("seeds", "labels", "steps", "solver", "batch", "precision")
"""What is in the job as it was decided."""
DECIDING = {
    "checkpoint": "weights",
    "cascade": "weights of the cascade",
    "conditions": "conditions",
    "grid": "grid",
    "guide": "guide",
}
"""What must be the same in both jobs, beside the words."""


class Like(NamedTuple):
    """A picture; the `job.json` of what it shows; and which of the samples, if it shows but one."""

    picture: Path
    job: Mapping[str, Any]
    index: int | None = None


def tag_of(request: Request, job: Mapping[str, Any], conditional: bool) -> dict[str, Any]:
    """What a picture carries: the request, with what it left to the run said, and the job."""
    said = {name: getattr(request, name) for name in WORDS}
    said |= {name: job[name] for name in DECIDED} | {"prompt": request.texts}
    said["cascade"] = request.cascade and str(request.cascade)
    run = request.opened
    usual = run.config.sample.grid
    usual = usual if run.info.space else grid_for(request.solver, usual)
    said["grid"] = request.grid or usual
    if request.guide == "cfg" and job["guide"] is None:
        said["guidance"] = job["guidance"] if conditional else None
    return {"run": str(request.path), "order": said, "job": dict(job)}


def again(request: Request, picture: Path) -> tuple[Request, Like]:
    """The request by which a picture was made, but for what this one asks otherwise.

    Raises BadInput for a picture that does not say how it was made.
    """
    tag = read_tag(picture)
    try:
        said = {**EARLIER, **tag["order"]}
        job, index = tag["job"], tag.get("index")
        whole = all(isinstance(said[name], kind) for name, kind in WORDS.items())
        if not whole or not isinstance(index, int | None):
            raise TypeError
        job = {"cascade": None, **job}
        job = {name: job[name] for name in (*DECIDING, "version")}
        run = Path(tag["run"])
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{picture} does not say whole how it was made.",
            "Give the settings themselves.",
            "like",
        ) from error
    usual = {field.name: field.default for field in fields(request)}
    left = {name: said[name] for name in WORDS if getattr(request, name) == usual[name]}
    if request.n is not None or request.seeds is not None:
        left["seeds"], index = request.seeds, None
    if left.get("cascade"):
        left["cascade"] = Path(left["cascade"])
    return replace(request, run=request.run or run, **left), Like(picture, job, index)


def check_like(like: Like | None, job: Mapping[str, Any]) -> None:
    """Raise BadInput where what a picture was made with is another in this job, or known part of
    it."""
    if like is None:
        return
    picture, then, _ = like
    for name, what in DECIDING.items():
        if name in job and then[name] != job[name]:
            raise BadInput(
                f"{picture} was made with other {what}: {then[name] or 'none'}, and now it is "
                f"{job[name] or 'none'}.",
                "Give what it was made with, or leave `like` out.",
                "like",
            )
    if then["version"] != job.get("version", then["version"]):
        text = f"{picture} was made by version {then['version']}, which may round otherwise"
        warnings.warn(text, stacklevel=2)
