"""What `make package` builds holds all of the package, and runs away from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from scorefield import __version__

ROOT = Path(__file__).parent.parent
OURS = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "scorefield").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
LICENCES = {
    "LICENSE",
    "scorefield/data/readers/digits.txt",
    "scorefield/serve/page/vendor/LICENSES.txt",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return folder


def check_whole(names: set[str], stem: str = "") -> None:
    assert not {name for name in OURS if stem + name not in names}
    assert not {name for name in names if "tests/" in name or "runs/" in name}


def test_the_wheel_and_the_archive_hold_the_package_and_its_licences(built):
    stem = f"scorefield-{__version__}"
    wheel = set(zipfile.ZipFile(built / f"{stem}-py3-none-any.whl").namelist())
    check_whole(wheel)
    assert {f"{stem}.dist-info/licenses/{name}" for name in LICENCES} <= wheel
    with tarfile.open(built / f"{stem}.tar.gz") as archive:
        check_whole(set(archive.getnames()), f"{stem}/")


def test_a_planted_wheel_without_its_data():
    with pytest.raises(AssertionError):
        check_whole(OURS - {"scorefield/data/readers/digits.npz"})
    with pytest.raises(AssertionError):
        check_whole(OURS | {"tests/conftest.py"})


def test_the_wheel_trains_samples_and_reports_in_a_fresh_environment(built, tmp_path):
    """Its dependencies are those of this environment, on a path that does not know the checkout."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    site = next((tmp_path / "venv").rglob("site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        return subprocess.run(
            words, cwd=tmp_path, env=alone, check=True, capture_output=True, text=True
        ).stdout

    wheel = str(next(built.glob("*.whl")))
    run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    home = run(str(python), "-c", "import scorefield; print(scorefield.__file__)")
    assert Path(home.strip()).is_relative_to(site)
    scorefield = str(python.with_name("scorefield"))
    assert json.loads(run(scorefield, "doctor", "--json"))["version"] == __version__
    run(scorefield, "train", "digits", "--net.width", "8", "--images", "128", "--out", "run")
    run(scorefield, "sample", "run", "--n", "4", "--out", "grid.png")
    run(scorefield, "report", "run")
    assert (tmp_path / "grid.png").stat().st_size > 200
    assert "<html" in next((tmp_path / "run").rglob("*.html")).read_text()


def test_the_version_is_said_once_and_the_citation_follows():
    cited = (ROOT / "CITATION.cff").read_text().split("\nversion: ")[1].split("\n")[0]
    assert cited == __version__
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in said["project"]["dynamic"]
    assert said["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "scorefield.__version__"}
