"""`scorefield report RUN`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from scorefield.base import BadInput
from scorefield.cli.options import Switch, note, parse, say
from scorefield.nets.describe import describe
from scorefield.report.content import (
    Content,
    Contest,
    Evaluation,
    Log,
    Picture,
    read_contest,
    read_evaluation,
    read_log,
    read_picture,
    spread_evenly,
)
from scorefield.report.likelihood import read_likelihood
from scorefield.report.page import page
from scorefield.run.config import Config, build_denoiser
from scorefield.run.recipes import recipes
from scorefield.run.stored import stored_settings
from scorefield.store import Folder, claim, read_json, write_bytes
from scorefield.tune import FittedGrid

T = TypeVar("T")

PICTURES, ROOM = 24, 2_000_000
"""Most pictures of progress on a page, and most bytes of them."""


@dataclass(frozen=True)
class Options:
    """Write a run's report: one HTML file with its samples over training, measures beside their
    floors, curves, loss by noise level, compared solvers and settings. It needs no network and no
    other file. A run that is still in training has a report too; it says what to run next.

    examples:
      scorefield report runs/digits
      scorefield report runs/digits --out digits.html
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder that `scorefield train` wrote."""
    out: Path | None = None
    """File to write (default: RUN/report.html)."""
    json: Switch = False
    """Print one JSON object instead of text."""


def main(argv: list[str]) -> int:
    options = parse(Options, "report", argv)
    out = options.out or options.run / "report.html"
    Folder(options.run).check_begun()
    claim(out)
    content = read_run(options.run)
    html = page(content).encode()
    write_bytes(out, html)
    commands = [
        command
        for command, done in (
            ("eval", content.evaluation), ("compare", content.contest), ("fit-grid", content.grids),
        )
        if not done
    ]  # fmt: skip
    result = {
        "run": str(options.run),
        "out": str(out),
        "bytes": len(html),
        "images_seen": content.images_seen,
        "pictures": len(content.pictures),
        "left_out": list(content.left_out),
        "next": [f"scorefield {command} {options.run}" for command in commands],
    }
    say(result, f"{out}: {len(html) / 1000:,.0f} kB, {content.images_seen:,} images seen",
        options.json)  # fmt: skip
    for why in content.left_out:
        note(f"left out: {why}")
    if commands and content.checkpoint and not options.json:
        note(f"it would say more after: scorefield {commands[0]} {options.run}")
    return 0


def read_run(path: Path) -> Content:
    """What a page says of the run at `path`, as far as the run has come.

    A file that cannot be read costs its own part of the page only; `left_out` says which and why.
    """
    folder = Folder(path)
    config, facts = stored_settings(folder)
    recipe = config.data.name
    side = Side()
    log = side.read(lambda: _log(path)) or Log()
    seen = folder.images_seen() if folder.has_checkpoint else int(max(log.images, default=0))
    grids = {
        file.stem: side.read(lambda file=file: FittedGrid.from_json(read_json(file), str(file)))
        for file in sorted(path.glob("grids/*.json"))
    }
    return Content(
        name=path.resolve().name,
        path=str(path),
        recipe=recipe,
        config=config,
        usual=recipes[recipe]() if recipe in recipes else Config(),
        facts=facts,
        size=describe(build_denoiser(config, facts).net, facts.shape),  # type: ignore[arg-type]
        images_seen=seen,
        checkpoint=folder.has_checkpoint,
        log=log,
        pictures=_pictures(path, side),
        evaluation=side.read(lambda: _evaluation(path)),
        contest=side.read(lambda: _contest(path, side)),
        grids=tuple((name, grid) for name, grid in grids.items() if grid),
        likelihood=side.read(lambda: read_likelihood(path / "likelihood")),
        left_out=tuple(side.problems),
    )


class Side:
    """Reads the files beside a run's own: one that cannot be read is left out, and said."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, action: Callable[[], T]) -> T | None:
        """What the action reads, or None."""
        try:
            return action()
        except (BadInput, OSError) as error:
            self.problems.append(str(error))
            return None


def _log(path: Path) -> Log:
    file = path / "log.jsonl"
    return read_log(file.read_text(errors="replace")) if file.exists() else Log()


def _pictures(path: Path, side: Side) -> tuple[Picture, ...]:
    """Those of progress, by images seen: as many as have room, first and last among them."""
    files = [file for file in path.glob("samples/*.png") if re.fullmatch(r"\d+", file.stem)]
    files.sort(key=lambda file: int(file.stem))
    for most in range(PICTURES, 1, -1):
        files = spread_evenly(files, most)
        if sum(file.stat().st_size for file in files) <= ROOM:
            break
    found = (side.read(lambda file=file: _picture(int(file.stem), file)) for file in files)
    return tuple(picture for picture in found if picture)


def _picture(images: int, file: Path) -> Picture:
    return read_picture(images, file.read_bytes(), str(file))


def _evaluation(path: Path) -> Evaluation | None:
    file = path / "eval.json"
    return read_evaluation(read_json(file), str(file)) if file.exists() else None


def _contest(path: Path, side: Side) -> Contest | None:
    file, strips = path / "compare" / "compare.json", path / "compare" / "strips.png"
    if not file.exists():
        return None
    picture = side.read(lambda: _picture(0, strips)) if strips.exists() else None
    return read_contest(read_json(file), str(file), picture)
