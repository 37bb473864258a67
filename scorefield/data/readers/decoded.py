"""Pictures that are decoded once, into a file that is mapped: data larger than memory.

Row i of the map is source i, whatever the others are, so that several processes write it at once
and a stop loses no more than the chunks they were at. A cache lies in a folder under the digest of
the sources' names, sizes and times and of how they are read; all runs of those share it.

    KEY/decoded.safetensors    the tensor x (N, C, H, W): uint8, or int32 of files of more bits
    KEY/about.json             the commit: what is known of the pictures besides their levels
    KEY/chunk-000012.json      the same of a chunk, until all are there

A mapped page that was not changed is the system's to take back: it counts as no process's own
memory. What is trained on is the same to the bit as without a cache.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scorefield.base import BadInput
from scorefield.data.readers.decode import DecodedForm, as_row, try_picture, work
from scorefield.data.readers.deep import full_scale
from scorefield.data.readers.pictures import (
    Picture,
    Stack,
    done_of,
    report_broken,
    warn_lost,
)
from scorefield.data.readers.sources import Sources, Undecoded, keep_sources

VERSION = 1
"""Of how pictures are read and kept: another makes other caches."""
FRACTION = 0.25
"""Of the memory, which decoded pictures may take before they go to disk by themselves."""
CHUNK = 512
"""Pictures that a process decodes between two notes of how far it is."""
PROBED = 32
"""Sources that the size of the pictures is read off: the first of them that can be read."""


class CachePlace(NamedTuple):
    """Where caches lie, who is told of them, and whether one is `asked` for or made only of data
    that memory is too small for. What `latents` are kept there too, it is no error to read data
    that need none."""

    folder: Path
    say: Callable[[str], object] = str
    asked: bool = False
    latents: bool = False

    def __str__(self) -> str:
        return str(self.folder)

    def wants(self, size: int) -> bool:
        """Whether data of so many bytes are to be mapped."""
        return self.asked or size > FRACTION * memory_bytes()


def stacked_on_disk(
    sources: Undecoded, size: int | None, channels: int | None, where: str,
    place: CachePlace | None,
) -> Stack | None:  # fmt: skip
    """`stack_pictures` of sources in a cache at a place, if one is asked for or memory is too small
    for them."""
    form = form_of(sources, size, channels) if place else None
    if place and form:
        need = form.rows(place.folder, len(sources)).size
        if place.wants(need):
            return _cached(sources, form, where, place)
    return None


def memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def form_of(sources: Undecoded, size: int | None, channels: int | None) -> DecodedForm | None:
    """As the first picture that can be read calls for; grey ones too are kept as colours, since a
    later one may have some, unless `channels` says otherwise. None where the reader in memory is
    to say what is wrong."""
    if channels not in (None, 1, 3) or (size is not None and size < 1):
        return None
    for number in range(min(PROBED, len(sources))):
        picture = try_picture(sources, number, size, channels)
        if isinstance(picture, Picture):
            return DecodedForm(
                size, channels, (channels or 3, *picture.levels.shape[:2]), picture.is_deep
            )
    return None


def _cached(sources: Undecoded, form: DecodedForm, where: str, place: CachePlace) -> Stack:
    """The pictures of a cache, which is made where there is none."""
    from scorefield.store import alone, digest_json, read_json

    key = digest_json([VERSION, sources.digest, form.size, form.channels])[:16]
    folder = place.folder / key
    if not (folder / "about.json").exists():
        with alone(place.folder, key, wait=True):
            while not (folder / "about.json").exists():  # others may have made it meanwhile
                if not _built(sources, form, where, folder, place.say):
                    form = form._replace(deep=True)
    about = read_json(folder / "about.json")
    warn_lost(about["lost"], where)
    report_broken(about["broken"], len(sources), where)
    x = form._replace(deep=about["deep"]).rows(folder, len(sources)).mapped()
    kept = np.setdiff1d(np.arange(len(sources)), np.array(about["out"], np.int64))
    grey = about["grey"] and form.channels is None
    return Stack(x[:, :1] if grey else x, kept, about["full"], tuple(about["done"]))


def _built(
    sources: Undecoded, form: DecodedForm, where: str, folder: Path, say: Callable[[str], object]
) -> bool:
    """Make a cache, or go on with it; False if files of more bits turned up, so that it is to be of
    them from the start. BadInput for a disk without room, and for pictures of unlike sizes."""
    from scorefield.store import read_json, sweep, write_json

    rows, job = form.rows(folder, len(sources)), folder / "job.json"
    free, shape = rows.free(), " x ".join(map(str, form.shape))
    said = {"form": [form.size, form.channels, list(form.shape), form.deep], "chunk": CHUNK}
    said["where"] = where
    begun = rows.is_whole and job.exists() and read_json(job) == said
    say(
        f"cache: {len(sources):,} pictures as {shape} take {rows.size / 1e9:.3g} GB in {folder} "
        f"({free / 1e9:.3g} GB free)"
    )
    if not begun:
        if rows.size > free:
            raise BadInput(
                f"the cache takes {rows.size / 1e9:.3g} GB, and {folder} has room for "
                f"{free / 1e9:.3g}.",
                "Give `data.cache` a folder on another disk, or a smaller `data.size`.",
                "data.cache",
            )
        sweep(folder, "chunk-*.json")
        rows.create()
        write_json(job, said, seal=False)
        if isinstance(sources, Sources):
            keep_sources(folder / "sources.npz", sources)
    _decode(folder, sources, say)
    notes = [read_json(path) for path in sorted(folder.glob("chunk-*.json"))]
    wrong = next((note["error"] for note in notes if note["error"]), None)
    if wrong or any(note["deep"] > form.deep for note in notes):
        sweep(folder, "chunk-*.json", rows.path.name, "job.json", "sources.npz")
        if wrong:
            raise BadInput(*wrong)
        return False
    about = _merged(notes)
    if form.deep:
        about["full"] = full_scale(about.pop("peak"))
        for number in about.pop("again"):
            picture = try_picture(sources, number, form.size, form.channels)
            if isinstance(picture, Picture):
                rows.write(number, as_row(picture, form, sources, number, where, about["full"]))
    write_json(folder / "about.json", {**about, "deep": form.deep})
    sweep(folder, "chunk-*.json", "job.json", "sources.npz", ".*.tmp")
    return True


def _merged(notes: list[dict[str, Any]]) -> dict[str, Any]:
    """What the chunks' notes say of all pictures."""
    lost, counts = dict[str, list[str]](), Counter[str]()
    for note in notes:
        counts.update(note["done"])
        for what, names in note["lost"].items():
            lost.setdefault(what, []).extend(names)
    every = {key: [v for note in notes for v in note[key]] for key in ("out", "broken", "again")}
    sizes = [size for note in notes for size in note["sizes"]]
    return {
        **every,
        "lost": lost,
        "done": done_of(sizes, counts) if sizes else (),
        "grey": all(note["grey"] for note in notes),
        "peak": max(note["peak"] for note in notes),
        "full": 255,
    }


def _decode(folder: Path, sources: Undecoded, say: Callable[[str], object]) -> None:
    """Have the chunks that are missing made, by as many processes as there are processors; where
    there are few, or others cannot open what is read, here."""
    count = len(sources)
    chunks = -(-count // CHUNK)

    def made() -> int:
        return sum(1 for _ in folder.glob("chunk-*.json"))

    missing, spoke = chunks - made(), time.monotonic()
    processes = min(len(os.sched_getaffinity(0)), missing)
    if processes < 2 or not isinstance(sources, Sources):
        return work(folder, 0, 1, sources)
    # A process of its own, not a fork of one with threads, nor one that imports a user's script.
    code = "import sys; sys.path[:] = {}\nfrom scorefield.data.readers.decode import work\n"
    code += "from pathlib import Path\nwork(Path({!r}), {}, {})"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(sys.path, str(folder), turn, processes)],
            stderr=subprocess.PIPE,
        )
        for turn in range(processes)
    ]
    try:
        while any(process.poll() is None for process in running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(0.05) if running[0].poll() is None else time.sleep(0.05)
            if time.monotonic() - spoke > 5:
                done, spoke = made() * CHUNK, time.monotonic()
                say(f"cache: {min(done, count):,} of {count:,} pictures")
    finally:
        for process in running:
            process.terminate()
    for process in running:
        if code := process.wait():
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
            lines = said.strip().splitlines() or [f"it ended with {code}"]
            raise BadInput(
                f"a process that fills the cache in {folder} has failed: {lines[-1]}.",
                "What it decoded stays; the same command goes on.",
            )
    return None
