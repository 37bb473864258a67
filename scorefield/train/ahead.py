"""The examples of the next step, gathered while this one is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

G = TypeVar("G")


class Ahead(Generic[G]):
    """`gather(step)` of a run's steps in order. With a `thread` the next is begun as one is handed
    over, for it may have to wait for a disk. What is gathered is a function of the step alone, so
    that a run is the same with and without, wherever it is stopped.

    >>> squares = Ahead(lambda step: step**2, thread=True)
    >>> [squares(step) for step in (3, 4, 9)]
    [9, 16, 81]
    """

    def __init__(self, gather: Callable[[int], G], thread: bool) -> None:
        self.gather = gather
        self.pool = ThreadPoolExecutor(1) if thread else None
        self.next: dict[int, Future[G]] = {}

    def __call__(self, step: int) -> G:
        if self.pool is None:
            return self.gather(step)
        now = self.next.get(step) or self.pool.submit(self.gather, step)
        self.next = {step + 1: self.pool.submit(self.gather, step + 1)}
        return now.result()

    def close(self) -> None:
        """Wait for what is under way, which nobody will ask for."""
        if self.pool:
            self.pool.shutdown(cancel_futures=True)
