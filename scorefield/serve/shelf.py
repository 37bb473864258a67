"""Answers for as long as they are kept, and what outlives the process: requests, states, answers.

Of each request three files may lie in the folder, by its number: what was asked, the state of its
walk, and its answer; the first and the last with its idempotency key. A server that starts there
has the answers and goes on with the rest, to the same bits: a state is a value, and a walk whose
state is lost begins anew.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scorefield.base import BadInput
from scorefield.draw import Job
from scorefield.store import (
    digest_json,
    files,
    read_bytes,
    read_json,
    read_tensors,
    sweep,
    write_bytes,
    write_json,
    write_tensors,
)

FILES = ("request.json", "state.safetensors", "answer.jsonl")


class Kept(NamedTuple):
    """An answer as JSON, and when it came."""

    answer: bytes
    since: float


class Shelf:
    """Answers, each kept for `seconds`, the oldest dropped beyond so many bytes; in a folder too if
    there is one."""

    def __init__(self, folder: Path | None, seconds: float = 600, most: int = 64 << 20) -> None:
        self.folder, self.seconds, self.most = folder, seconds, most
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self.size = 0  # of the answers that are kept
        self.keys: dict[str, tuple[str, str]] = {}  # what was asked under each, and its number
        self.key_of: dict[str, str] = {}
        self.lock = threading.Lock()

    def ask(self, number: str, request: dict[str, Any], key: str | None = None) -> None:
        """Keep what was asked, and under which key."""
        if key is not None:
            self._name(number, key, digest_json(request))
        if self.folder:
            write_json(self.folder / f"{number}.request.json", {**request, "key": key})

    def _name(self, number: str, key: str, request: str) -> None:
        self.keys[key], self.key_of[number] = (request, number), key

    def under(self, key: str | None, request: dict[str, Any]) -> str | None:
        """The number of the request under that key, if there is one.

        Raises BadInput if that was another.
        """
        if key is None or key not in self.keys:
            return None
        mark, number = self.keys[key]
        if mark != digest_json(request):
            fact = "the idempotency key was that of another request."
            raise BadInput(fact, "Give each request a key of its own.")
        return number

    def pause(self, number: str, job: Job) -> None:
        """Keep how far a walk has come, if its state is made of tensors."""
        leaves = job.state._asdict()
        if self.folder and job.k and all(isinstance(v, Tensor) for v in leaves.values()):
            own = {name: torch.cat([leaf]) for name, leaf in leaves.items()}  # in memory of its own
            own["_k"] = torch.tensor(job.k)
            write_tensors(self.folder / f"{number}.state.safetensors", own)

    def put(self, number: str, answer: bytes, key: str | None = None) -> None:
        """Keep an answer, and with it nothing else of its request but the key."""
        if self.folder:
            head = json.dumps([key, self.keys[key][0]] if key in self.keys else None).encode()
            write_bytes(self.folder / f"{number}.answer.jsonl", head + b"\n" + answer)
        self.forget(number, "request.json", "state.safetensors")
        with self.lock:
            before = self.kept.pop(number, None)
            self.kept[number] = Kept(answer, time.time())
            self.size += len(answer) - (len(before.answer) if before else 0)
        self.tidy()

    def get(self, number: str) -> bytes | None:
        self.tidy()
        found = self.kept.get(number)
        return found and found.answer

    def tidy(self) -> None:
        """Drop what is too old or too much."""
        with self.lock:
            while self.kept:
                number, (answer, since) = next(iter(self.kept.items()))
                if since + self.seconds > time.time() and self.size <= self.most:
                    break
                self.size -= len(answer)
                del self.kept[number]
                self.forget(number)

    def forget(self, number: str, *names: str) -> None:
        """Take files of a request away, by default all."""
        for name in names or FILES:
            if self.folder:
                sweep(self.folder, f"{number}.{name}")
        key = None if names else self.key_of.pop(number, None)
        if key in self.keys and self.keys[key][1] == number:  # it may be another's by now
            del self.keys[key]

    def left(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Take in the answers that lie in the folder; and the requests without one, by number. What
        cannot be read is left out."""
        for path in files(self.folder, "*.answer.jsonl") if self.folder else ():
            head, answer = read_bytes(path).split(b"\n", 1)
            number, own = path.name.partition(".")[0], json.loads(head)
            self.kept[number] = Kept(answer, json.loads(answer)["created"])
            if own:
                self._name(number, *own)
        self.kept = OrderedDict(sorted(self.kept.items(), key=lambda item: item[1].since))
        self.size = sum(len(kept.answer) for kept in self.kept.values())
        self.tidy()
        for path in files(self.folder, "*.request.json") if self.folder else ():
            number = path.name.partition(".")[0]
            if number not in self.kept:
                try:
                    yield number, read_json(path)
                except BadInput as error:
                    yield number, {"damaged": str(error)}

    def resumed(self, number: str, job: Job) -> Job:
        """The job as far as it had come."""
        if not self.folder:
            return job
        try:
            leaves = read_tensors(self.folder / f"{number}.state.safetensors")
            k, state = int(leaves.pop("_k")), type(job.state)(**leaves)
        except (BadInput, KeyError, TypeError):
            return job
        return replace(job, state=state, k=k)
