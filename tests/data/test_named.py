import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scorefield.base import BadInput
from scorefield.data import datasets, load

TOYS = ("swiss-roll", "moons", "8-gaussians", "checkerboard")


def test_the_names():
    assert set(datasets) == {
        *TOYS,
        *("digits", "mnist", "fashion-mnist", "cifar10", "folder", "npz", "huggingface"),
    }


@pytest.mark.parametrize("name", ["digits", *TOYS])
def test_a_set_is_called_by_its_name(name: str):
    assert load(name).name == name


def test_a_folder_by_its_path(tmp_path: Path):
    for i in range(2):
        Image.new("L", (2, 2), i).save(tmp_path / f"{i}.png")
    assert load(str(tmp_path)).shape == (1, 2, 2)
    assert load(str(tmp_path), size=1).shape == (1, 1, 1)


def test_an_npz_by_its_path(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)))
    assert load(str(tmp_path / "a.npz")).shape == (2,)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(BadInput, match="unknown data set 'mnits'. Did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(BadInput, match="unknown data set ''"):
        load("")
    with pytest.raises(BadInput, match="unknown data set 'some/where'"):
        load("some/where", path="else/where")


def test_a_path_to_nothing_says_so(tmp_path: Path):
    with pytest.raises(
        BadInput, match="no folder of pictures and no .npz or .npy file.*huggingface"
    ):
        load(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    "name, options",
    [
        *[(name, {"size": 8}) for name in ("digits", "mnist", "cifar10", "npz", *TOYS)],
        *[(name, {"path": "p"}) for name in ("digits", *TOYS)],
        *[(name, {"channels": 1}) for name in ("digits", "fashion-mnist", "cifar10", *TOYS)],
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused(name: str, options: dict):
    (flag,) = options
    with pytest.raises(BadInput, match=f"'{name}' takes no `data.{flag}`"):
        load(name, **options)


@pytest.mark.parametrize("name", ["folder", "npz", "huggingface"])
def test_sets_that_live_somewhere_ask_where(name: str):
    with pytest.raises(BadInput, match="`data.path`"):
        load(name)


@pytest.mark.slow
def test_importing_the_package_imports_no_heavy_library():
    heavy = "{'PIL', 'sklearn', 'datasets', 'matplotlib', 'scipy'}"
    code = f"import scorefield.data, sys; assert not {heavy} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
