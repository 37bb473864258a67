"""The how-to pages: every cell and every command, in order, on small models."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, cli, trained  # noqa: F401 fixtures

ROOT = Path(__file__).parents[2]
PAGES = sorted(p for p in (ROOT / "docs/howto").glob("*.md") if p.stem != "index")
BLOCK = re.compile(r"^```(\{code-cell\}|sh|toml)\n(.*?)^```", re.S | re.M)
SIZES = {"eval": "--n 20", "compare": "--n 4", "fit-grid": "--starts 16 --rounds 1"}
"""What is added to a page's lines, beside a small network: the size of the work."""
LESS = ["--batch", "32", "--images", "64", "--sample.steps", "2"]
SMALL = {
    "table": ["--net.width", "8", "--net.blocks", "1", *LESS],
    "audio": ["--net", "unet:width=8,multipliers=1,blocks=1,fold=32", *LESS],
}
"""Of networks that have no multipliers, or a level that is attended to."""
ELSEWHERE = ("serve", "doctor", "export")
"""Verbs that tests/serve, tests/cli and tests/interop run."""


def installed(toml: str, source: str) -> None:
    """What pip makes of a package of one module: the module, and its entry points beside it."""
    Path("my_methods.py").write_text(source)
    info = Path("my_methods-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-methods\nVersion: 1.0\n")
    groups = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", toml.split("\n\n", 1)[1])
    (info / "entry_points.txt").write_text(groups.replace('"', ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_runs(page, trained, cli, tmp_path, monkeypatch):  # noqa: F811
    """On a tiny run in the place of the trained one, with a judge that has seen less."""
    from scorefield.use import judge

    monkeypatch.setattr(judge, "SEEN", 10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    shutil.copytree(trained, "runs/digits")
    names: dict = {"__name__": page.stem}
    blocks = BLOCK.findall(page.read_text())
    toml = [text for kind, text in blocks if kind == "toml"]
    for kind, text in blocks:
        if kind == "{code-cell}" and toml:
            installed(toml[0], text)
        elif kind == "{code-cell}":
            exec(compile(text, str(page), "exec"), names)
        for line in text.splitlines() if kind == "sh" else ():
            program, verb, *words = shlex.split(line, comments=True) or ("", "")
            if program != "scorefield" or verb in ELSEWHERE:
                continue
            more = SMALL.get(page.stem, TINY) if verb == "train" else SIZES.get(verb, "").split()
            code, _, err = cli(verb, *words, *more)
            assert code == 0, f"{line}: {err}"


def test_a_page_that_is_wrong_is_seen(trained, cli, tmp_path, monkeypatch):  # noqa: F811
    page = tmp_path / "page.md"
    page.write_text("```sh\nscorefield sample runs/digits --n 2 --solver hoin\n```\n")
    with pytest.raises(AssertionError, match="heun"):
        test_a_page_runs(page, trained, cli, tmp_path, monkeypatch)
