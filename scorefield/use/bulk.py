"""Bulk jobs: the shards of a run's samples, made by a team of processes in turn."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from scorefield import __version__
from scorefield.base import BadInput, Watch, quiet
from scorefield.draw import Asked
from scorefield.draw.shards import Shards
from scorefield.run.open import Run
from scorefield.store import digest_json, short
from scorefield.store.digest import digest
from scorefield.store.files import to_bytes
from scorefield.train import Team


def about(
    run: Run,
    asked: Asked,
    settings: dict[str, Any],
    batch: int,
    labels: Sequence[int] | None = None,
    guide: str | None = None,
) -> dict[str, Any]:
    """All that decides the samples of a job: what `job.json` holds. `labels` are those said apart
    from the other conditions, and `guide` says which is around the denoiser."""
    grid, cond = settings["grid"], dict(asked.cond or {})
    name = grid if isinstance(grid, str) else f"fitted, {short(digest_json(grid.to_json()))}"
    if labels is not None:
        cond.pop("label", None)
    return {
        "n": len(asked.seeds),
        "seeds": spans(asked.seeds.tolist()),
        "labels": None if labels is None else spans(labels),
        "conditions": None if not cond else short(digest(to_bytes(cond))),
        **settings,
        "guide": guide,
        "precision": run.denoiser.precision,
        "grid": name,
        "batch": batch,
        "shape": list(run.info.shape),
        "checkpoint": run.checkpoint,
        "version": __version__,
    }


def fill(
    shards: Shards,
    team: Team,
    watch: Watch = quiet,
    begin: Callable[[int], None] = lambda done: None,
) -> int:
    """Make the shards that are missing; the team's processes take them in turn.

    Returns the count of shards that were there before, of which `begin` is told at the start.
    Raises BadInput, in every process, if one of them cannot make or keep its shard: the finished
    ones stay.
    """
    seen = team.together(lambda: torch.tensor(shards.have(), dtype=torch.uint8))
    there = team.gather(seen)[0].bool()  # as the main process sees them: all must agree on turns
    missing, done = (~there).nonzero().flatten().tolist(), int(there.sum())
    if team.is_main:
        begin(done)
    made = shards.size(there.nonzero().flatten().tolist())
    watch(made, len(shards), "sample")
    for i in range(0, len(missing), team.size):
        turn = missing[i : i + team.size]
        team.together(lambda turn=turn: _take(shards, turn[team.rank : team.rank + 1]))
        made += shards.size(turn)
        watch(made, len(shards), "sample")
    return done


def _take(shards: Shards, turn: list[int]) -> None:
    try:
        for shard in turn:
            shards.keep(shard, shards.make(shard))
    except BadInput as error:
        kept = sum(shards.have())
        stay = f" {kept} of {shards.count} shards are kept in {shards.folder}." if kept else ""
        raise BadInput(error.fact, error.remedy + stay) from error


def spans(numbers: Iterable[int]) -> str:
    """Integers in order, runs shortened, as `seeds` are given.

    >>> spans([0, 1, 2, 3, 7, 7, 6])
    '0-3,7,7,6'
    """
    runs = itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(group) for _, group in runs)]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ends)
