import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from scorefield.data import datasets, load
from tests.refusal import refused

TOYS = ("swiss-roll", "moons", "8-gaussians", "checkerboard", "tetrahedra", "phantoms")


def test_the_names():
    assert set(datasets) == {
        *TOYS,
        *("digits", "mnist", "fashion-mnist", "cifar10", "folder", "npz", "huggingface"),
        *("captioned-digits", "points", "letters", "smiles", "table", "conformers"),
        *("sounds", "series", "moving-digits"),
    }


@pytest.mark.parametrize("name", ["digits", *TOYS])
def test_a_set_is_called_by_its_name(name):
    assert load(name).name == name


def test_a_folder_and_an_npz_by_their_paths(tmp_path):
    for i in range(2):
        Image.new("L", (2, 2), i).save(tmp_path / f"{i}.png")
    assert load(str(tmp_path)).shape == (1, 2, 2)
    assert load(str(tmp_path), size=1).shape == (1, 1, 1)
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)))
    assert load(str(tmp_path / "a.npz")).shape == (2,)


def test_an_unknown_name_suggests_the_nearest():
    refused("unknown data set 'mnits'. Did you mean 'mnist'", load, "mnits")
    refused("unknown data set ''", load, "")
    refused("no folder of pictures and no .npz or .npy file.*huggingface", load, "no/such/place")
    refused("unknown data set 'some/where'", load, "some/where", path="else/where")


@pytest.mark.parametrize(
    "name, options",
    [
        *[(name, {"size": 8}) for name in ("digits", "mnist", "cifar10", "npz", *TOYS)],
        *[(name, {"path": "p"}) for name in ("digits", *TOYS)],
        *[(name, {"channels": 1}) for name in ("digits", "fashion-mnist", "cifar10", *TOYS)],
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused(name, options):
    (flag,) = options
    refused(f"'{name}' takes no `data.{flag}`", load, name, **options)


@pytest.mark.parametrize("name", ["folder", "npz", "huggingface"])
def test_sets_that_live_somewhere_ask_where(name):
    refused("`data.path`", load, name)


def test_importing_the_package_imports_no_heavy_library():
    heavy = "{'PIL', 'sklearn', 'datasets', 'matplotlib', 'scipy'}"
    code = f"import scorefield.data, sys; assert not {heavy} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
