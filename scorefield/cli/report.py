"""`scorefield report RUN`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scorefield.cli.options import Switch, note, parse, say
from scorefield.nets.describe import describe
from scorefield.report.content import (
    Content,
    Contest,
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
from scorefield.store import (
    Folder,
    Reader,
    claim,
    exists,
    read_bytes,
    read_json,
    read_text,
    size_of,
    write_bytes,
)
from scorefield.tune import FittedGrid

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
    folder, reader = Folder(path), Reader(path)
    config, facts = stored_settings(folder)
    recipe = config.data.name
    log = reader.one("log.jsonl", lambda file: read_log(read_text(file))) or Log()
    seen = folder.images_seen() if folder.has_checkpoint else int(max(log.images, default=0))
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
        pictures=_pictures(reader),
        evaluation=reader.one("eval.json", lambda f: read_evaluation(read_json(f), str(f))),
        contest=reader.one("compare/compare.json", lambda f: _contest(f, reader)),
        grids=tuple(reader.every("grids/NAME.json", _grid).items()),
        likelihood=reader.read(path / "likelihood", read_likelihood),
        left_out=tuple(reader.left_out),
    )


def _pictures(reader: Reader) -> tuple[Picture, ...]:
    """Those of progress, by images seen: as many as have room, first and last among them."""
    files = sorted(reader.folder.find("samples/IMAGES.png"), key=lambda file: int(file.stem))
    sizes = {file: size_of(file) for file in files}
    for most in range(PICTURES, 1, -1):
        files = spread_evenly(files, most)
        if sum(sizes[file] for file in files) <= ROOM:
            break
    found = (reader.read(file, _picture) for file in files)
    return tuple(picture for picture in found if picture)


def _picture(file: Path) -> Picture:
    images = int(file.stem) if file.stem.isdigit() else 0
    return read_picture(images, read_bytes(file), str(file))


def _grid(file: Path) -> FittedGrid:
    return FittedGrid.from_json(read_json(file), str(file))


def _contest(file: Path, reader: Reader) -> Contest:
    strips = file.with_name("strips.png")
    picture = reader.read(strips, _picture) if exists(strips) else None
    return read_contest(read_json(file), str(file), picture)
