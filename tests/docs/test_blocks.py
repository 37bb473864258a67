"""Every line of the command line that a page shows is one, and every block of Python runs."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scorefield.base.errors import BadInput
from scorefield.cli import frame
from scorefield.measure import Judge
from scorefield.store import keep_model
from tests.cli.conftest import TINY, cli, trained  # noqa: F401 fixtures

ROOT = Path(__file__).parents[2]
DOCS = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if not {"reference", "examples"} & set(page.relative_to(ROOT).parts)  # made by the site
]
CODE = re.compile(
    r"^```[^\n]*\n(.*?)^```|^((?: {4}.*\n)+)|`(scorefield [a-z-]+ [^`-]+ --[^`]+)`", re.S | re.M
)
LINE = re.compile(r"^(?: {4})?(?:torchrun .* -m (?:-- )?)?(scorefield (?:.*\\\n)*.*)", re.MULTILINE)
BESIDE = re.compile(r" {2,}(?=[#a-zA-Z])")
"""What stands between a line and what is told of it."""


def lines(text: str) -> Iterator[list[str]]:
    """The words of each command that a page shows, in blocks and between its words."""
    code = "\n".join("".join(found) for found in CODE.findall(text))
    for line in LINE.findall(code):
        for one in BESIDE.split(re.sub(r"\\\n +", "", line))[0].split(";"):
            yield shlex.split(re.sub(r" (>|RUN \.\.\.|\.\.\.).*", "", one), comments=True)[1:]


class Read(Exception):
    """A line that was read, and is not carried out."""


def check_lines(text: str) -> None:
    """Read all lines of a page as the command line would."""
    for verb, *words in lines(text):
        with pytest.raises((Read, SystemExit)):  # the latter of --help
            frame.run(verb, words)


@pytest.fixture
def reading(trained, tmp_path, monkeypatch):  # noqa: F811
    """Where verbs are read and not carried out, beside a run of the digits."""
    read = frame.parse

    def parse(*of: Any) -> None:
        read(*of)
        raise Read

    monkeypatch.setattr(frame, "parse", parse)
    monkeypatch.chdir(tmp_path)
    for run in ("runs/digits", "RUN"):
        shutil.copytree(trained, run)


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *DOCS], ids=lambda p: p.stem)
def test_every_line_of_a_page_is_one_of_the_command_line(page, reading):
    check_lines(page.read_text())


def test_a_line_that_is_none_is_seen(reading):
    text = "Told:\n\n    scorefield sample runs/digits --n 4   # four\n"
    assert list(lines(text)) == [["sample", "runs/digits", "--n", "4"]]
    check_lines(text)
    for wrong in (text.replace("--n", "--many"), text.replace(" 4 ", " four ")):
        with pytest.raises(BadInput):
            check_lines(wrong)
    for wrong in ("```sh\nscorefield simple runs/digits\n```\n", "`scorefield simple X --n 4`"):
        with pytest.raises(ModuleNotFoundError):
            check_lines(wrong)


PYTHON = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
ELSEWHERE = ("adding-", "architecture", "solvers")
"""Pages whose blocks test_adding.py and test_solvers_page.py run, and one that draws outlines."""
RUNS = {
    "runs/mine": ["npz", "--data.path", "data.npz", "--net", "auto:width=8,blocks=1"],
    "runs/digits-text": ["digits-text", *TINY],
    "runs/digits-decoder": ["digits-decoder", *TINY],
    "runs/moving": ["moving-digits", "--net", "unet:width=8,multipliers=1,blocks=1"],
}
"""What a block opens, and how it is trained."""
LESS = {
    "2_000_000": "256",
    "60_000": "256",
    "steps=48, seconds=120": "steps=8, seconds=.5",
    "steps=64)": "steps=8, seconds=.5)",
}
"""The size of the work, and nothing else."""


def cats() -> None:
    """A folder as diffusers writes it."""
    theirs: Any = pytest.importorskip("diffusers")
    net = theirs.UNet2DModel(
        8,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        block_out_channels=(8,),
        norm_num_groups=4,
    )
    theirs.DDPMPipeline(net, theirs.DDPMScheduler()).save_pretrained("ddpm-cat-256")


@pytest.mark.parametrize(
    "page",
    [p for p in DOCS if "```python" in p.read_text() and not p.stem.startswith(ELSEWHERE)],
    ids=lambda p: p.stem,
)
def test_every_block_of_python_runs(page, trained, cli, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/digits")
    judge = Judge((1, 8, 8), 10)  # which nobody trained
    keep_model(Path("runs/digits"), "judge", judge, {"config": judge.config, "accuracy": 0.1})
    names: dict = {"__name__": page.stem}
    for code in PYTHON.findall(page.read_text()):
        for run in re.findall(r'"(runs/[\w-]+)"', code):
            if not Path(run).exists():
                small = ["--images", "32", "--batch", "16", "--sample.steps", "2", "--out", run]
                assert cli("train", *RUNS[run], *small).code == 0
        if "ddpm-cat-256" in code:
            cats()
        for much, little in LESS.items():
            code = code.replace(much, little)
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("cell", sorted((ROOT / "docs/cells").glob("*.py")), ids=lambda p: p.stem)
def test_every_figure_of_the_catalogue_is_drawn(cell, capsys):
    exec(compile(cell.read_text().replace("range(400)", "range(20)"), str(cell), "exec"), {})
    assert capsys.readouterr().out or cell.stem == "schedules"
