"""`scorefield report RUN`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scorefield.base import BadInput
from scorefield.cli.options import Switch, note, parse, say
from scorefield.config import Config, build_denoiser, from_json
from scorefield.nets.describe import describe
from scorefield.recipes import recipes
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
from scorefield.train import Folder, check_place, read_json, write_bytes
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
    check_place(out)
    if out.is_dir():
        raise BadInput(f"--out {out} is a folder.", "Give a file, such as report.html.")
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
        "next": [f"scorefield {command} {options.run}" for command in commands],
    }
    say(result, f"{out}: {len(html) / 1000:,.0f} kB, {content.images_seen:,} images seen",
        options.json)  # fmt: skip
    if commands and content.checkpoint and not options.json:
        note(f"it would say more after: scorefield {commands[0]} {options.run}")
    return 0


def read_run(path: Path) -> Content:
    """What a page says of the run at `path`, as far as the run has come."""
    folder = Folder(path)
    config, facts = from_json(folder.config(), str(folder.config_path))
    recipe = config.data.name
    log = _log(path)
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
        pictures=_pictures(path),
        evaluation=_evaluation(path),
        contest=_contest(path),
        grids=tuple(
            (file.stem, FittedGrid.from_json(read_json(file), str(file)))
            for file in sorted(path.glob("grids/*.json"))
        ),
        likelihood=read_likelihood(path / "likelihood"),
    )


def _log(path: Path) -> Log:
    file = path / "log.jsonl"
    return read_log(file.read_text(errors="replace")) if file.exists() else Log()


def _pictures(path: Path) -> tuple[Picture, ...]:
    """Those of progress, by images seen: as many as have room, first and last among them."""
    files = [file for file in path.glob("samples/*.png") if re.fullmatch(r"\d+", file.stem)]
    files.sort(key=lambda file: int(file.stem))
    for most in range(PICTURES, 1, -1):
        files = spread_evenly(files, most)
        if sum(file.stat().st_size for file in files) <= ROOM:
            break
    return tuple(read_picture(int(file.stem), file.read_bytes(), str(file)) for file in files)


def _evaluation(path: Path) -> Evaluation | None:
    file = path / "eval.json"
    return read_evaluation(read_json(file), str(file)) if file.exists() else None


def _contest(path: Path) -> Contest | None:
    file, strips = path / "compare" / "compare.json", path / "compare" / "strips.png"
    if not file.exists():
        return None
    picture = read_picture(0, strips.read_bytes(), str(strips)) if strips.exists() else None
    return read_contest(read_json(file), str(file), picture)
