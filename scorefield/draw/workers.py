"""Bulk jobs on a cluster of Ray: its workers make the shards, this process keeps them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from scorefield.base import BadInput, Watch, quiet
from scorefield.base.extras import library
from scorefield.draw.shards import Shards


def fill_by_workers(
    shards: Shards,
    modules: Sequence[nn.Module],
    workers: int,
    device: str,
    watch: Watch = quiet,
    begin: Callable[[int], None] = lambda done: None,
) -> int:
    """Make the shards that are missing, each row of a data set of Ray, which come in any order and
    carry their index; `modules` are those of which they are made, on each worker's
    `device`. Only this process writes.

    Returns the count of shards that were there before, of which `begin` is told at the start.
    Raises BadInput if a worker cannot make its shard: the finished ones stay.
    """
    ray = library("ray", "ray", "bulk jobs are shared")
    library("ray.data", "ray", "bulk jobs are shared")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    there = shards.have()
    begin(sum(there))
    made = shards.size(k for k, whole in enumerate(there) if whole)
    watch(made, len(shards), "sample")
    kept, threads = ray.put((shards, [*modules])), torch.get_num_threads()

    class Worker:
        def __init__(self) -> None:
            torch.set_num_threads(threads)  # of as many as here: sums are rounded in their order
            self.shards, modules = ray.get(kept)
            for module in modules:
                module.to(device)

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return {**row, "x0": self.shards.make(row["shard"]).numpy()}

    missing = [{"shard": k} for k, whole in enumerate(there) if not whole]
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = ray.data.from_items(missing, override_num_blocks=max(1, len(missing))).map(
        Worker, concurrency=workers, num_cpus=1, num_gpus=int(device == "cuda")
    )
    try:
        for row in rows.iter_rows():
            shards.keep(int(row["shard"]), torch.from_numpy(row["x0"].copy()))
            made += len(row["x0"])
            watch(made, len(shards), "sample")
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BadInput):
            raise error.cause from error
        raise
    return sum(there)
