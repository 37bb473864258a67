"""What this installation has, and what it lacks: versions, devices, threads, extras."""

import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement

from scorefield import __version__
from scorefield.base.finding import Findings, Table, Value
from scorefield.denoise.precondition import quicker
from scorefield.run.open import device

HEEDED = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES", "SCOREFIELD_BROWSER")
GIB = 2**30


def examine(environ: Mapping[str, str]) -> Findings:
    """Findings of this installation: where it computes, and which packages of each extra are there.

    A package lacks if it is not installed, or not in a version that was asked for. The record says
    whether it is `sound`: nothing lacks that every verb needs, the packages of no extra.
    """
    had = list(packages())
    lacking = sorted({extra for extra, *_, lacks in had if lacks})
    extras = ",".join(extra for extra in lacking if extra != "core")
    rows = tuple((name, found, asked, extra, lacks) for extra, name, asked, found, lacks in had)
    items = (
        Table("machine", ("what", "found"), tuple(machine(environ))),
        Table("packages", ("package", "found", "asked", "extra", "state"), rows),
    )
    sound = "core" not in lacking
    lines = ["" if sound else "to mend it: pip install -U scorefield"]
    lines += [f"for what lacks: pip install 'scorefield[{extras}]'"] if extras else []
    how = f"Scorefield {__version__}, Python {platform.python_version()}"
    record = {"version": __version__, "sound": sound, "lacking": lacking}
    return Findings("doctor", "", how, items, record, next="\n".join(filter(None, lines)))


def machine(environ: Mapping[str, str]) -> Iterator[tuple[Value, ...]]:
    """What it computes with, by name."""
    yield "system", f"{platform.system()} {platform.machine()}"
    yield "torch", torch.__version__
    yield "device", device()
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        yield f"cuda:{i}", f"{card.name}, {card.total_memory / GIB:.0f} GiB"
    yield "instructions", torch.backends.cpu.get_cpu_capability()
    yield "a model trained in bf16 is sampled in", quicker("bf16")
    yield "cores, threads", f"{os.cpu_count()}, {torch.get_num_threads()}"
    yield from ((name, environ[name]) for name in HEEDED if name in environ)


def packages() -> Iterator[tuple[str, str, str, str, str]]:
    """Of each package that is asked for: extra, name, versions, the version found, and what is
    wrong with it, if anything is. The extra "core" is what every verb needs."""
    for line in requires("scorefield") or ():
        asked = Requirement(line)
        if asked.name == "scorefield":  # an extra that brings another
            continue
        extra = str(asked.marker).rpartition(" == ")[2].strip('"') if asked.marker else "core"
        try:
            found = version(asked.name)
        except PackageNotFoundError:
            found = ""
        fits = asked.specifier.contains(found, prereleases=True) if found else False
        wrong = "" if fits else "another version" if found else "lacks"
        yield extra, asked.name, str(asked.specifier), found, wrong
