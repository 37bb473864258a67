"""`scorefield likelihood`: files, sets, errors of the mean, and what it refuses."""

import csv
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.base import BadInput
from scorefield.cli import frame
from scorefield.data import load
from scorefield.likelihood.measured import How
from scorefield.measure.overlap import auroc, histogram
from scorefield.run.open import open_run
from scorefield.store import read_json
from scorefield.use.bits import measure_bits

main = partial(frame.run, "likelihood")
FEW = ("--n", "6", "--json")


@pytest.fixture
def said(capfd, run):
    """`said("--n", 3, ...)` -> the JSON that the command prints for the tiny run."""

    def call(*words: object) -> dict:
        capfd.readouterr()
        assert main([str(run), *(str(word) for word in words)]) == 0
        return json.loads(capfd.readouterr().out)

    return call


def test_files_and_their_content(said, run):
    result = said("--method", "vlb", *FEW)
    folder = run / "likelihood"
    assert {p.name for p in folder.iterdir()} == {"vlb.json", "vlb.csv"}
    assert result == json.loads((folder / "vlb.json").read_text())
    rows = list(csv.DictReader((folder / "vlb.csv").open()))
    assert [int(r["index"]) for r in rows] == [k * 382 // 6 for k in range(6)]
    each = torch.tensor([float(r["bits_per_dim"]) for r in rows], dtype=torch.float64)
    assert float(each.mean()) == pytest.approx(result["mean"], abs=1e-4)
    assert float(each.std()) / 6**0.5 == pytest.approx(result["error"], rel=1e-3)
    for r, b in zip(rows, each.tolist()):
        assert -float(r["nats"]) / (64 * math.log(2)) == pytest.approx(b, rel=1e-4)
        assert float(r["stderr"]) > 0
    parts = result["parts"]
    whole = parts["prior"] + sum(parts["cells"]) + parts["decoder"] + parts["units"]
    assert whole == pytest.approx(result["mean"], abs=1e-4)
    test = load("digits").test
    assert [int(r["label"]) for r in rows] == [
        int(test.cond["label"][k * 382 // 6]) for k in range(6)
    ]


def test_the_floor(said, refused, run):
    """Data as they are go to clean data, unless they stop at the last level; uniform ones do."""
    plain = ("--dequantise", "none", "--draws", 1, "--steps", 4)
    clean, floor = said(*plain, *FEW), said(*plain, "--floor", *FEW)
    assert said("--dequantise", "uniform", *plain[2:], *FEW)["calls"] == floor["calls"]
    assert (clean["floor"], floor["floor"]) == (False, True)
    assert floor["calls"] == clean["calls"] - 4
    assert "from the floor" in floor["how"]
    assert clean["mean"] != floor["mean"]
    for words, fact in (
        (("--floor",), "begins at a noisy level"),
        (("--method", "vlb", "--floor"), "--floor is of the flow"),
    ):
        assert fact in refused("likelihood", run, *words)


def test_it_is_what_python_measures(said, run):
    result = said("--method", "bound", "--n", 20, "--draws", 1, "--batch", 8, "--json")
    opened, data = open_run(run), load("digits")
    index = torch.arange(20) * 382 // 20
    x0, cond = data.batch(data.test, index)
    how = How("bound", dequantise="truncated")
    found = measure_bits(opened.denoiser, x0, how, cell=0.125, cond=cond, seeds=index)
    assert found.mean == pytest.approx(result["mean"], abs=1e-4)
    assert (result["chance"], result["conditional"]) == (None, True)
    assert result["how"] == "1 probe, truncated dequantisation, 1 draw of each"


@pytest.mark.parametrize(
    "words, has",
    [
        (("--method", "flow", "--steps", "4", "--dequantise", "uniform"), "4 steps of arc"),
        (("--method", "flow", "--steps", "4", "--trace", "exact", "--n", 1), "exact trace"),
        (("--method", "flow", "--solver", "heun", "--steps", 6, "--trace", 2), "2 probes, 6 steps"),
        (("--method", "elbo"), "a decoder of levels"),
        (("--method", "elbo", "--dequantise", "uniform"), "uniform dequantisation"),
        (("--method", "bound", "--dequantise", "uniform"), "1 probe, uniform"),
    ],
)
def test_every_method_and_dequantisation(said, words, has):
    result = said("--n", 3, "--json", *words)
    assert has in result["how"]
    assert math.isfinite(result["mean"])
    assert result["unit"] == "bits a dimension"


def test_without_dequantisation_it_is_a_density(said):
    result = said(*FEW, "--steps", 3, "--dequantise", "none")
    assert result["unit"].endswith("of a density in the data's units")


def test_classes_or_none(said):
    a, b = (said("--method", "vlb", *FEW, *w) for w in ((), ("--unconditional",)))
    assert (a["conditional"], b["conditional"]) == (True, False)
    assert a["mean"] != b["mean"]


def test_guidance_changes_the_model(said):
    a, b = (said("--method", "vlb", *FEW, "--guidance", g) for g in (1, 3))
    assert a["mean"] != b["mean"]


def test_strangers_are_drawn_and_told_apart(said, run):
    result = said("--method", "vlb", "--n", 20, "--against", "noise", "--json", "--draws", 1)
    folder = run / "likelihood"
    assert {p.name for p in folder.iterdir()} == {
        "vlb.json", "vlb.csv", "against.json", "against.png",
    }  # fmt: skip
    Image.open(folder / "against.png").verify()
    assert list(result["against"]) == ["train", "test", "noise"]
    sets = read_json(folder / "against.json")["sets"]
    assert [sum(s["counts"]) for s in sets] == [20, 20, 20]
    each = {name: [] for name in ("train", "test", "noise")}
    for row in csv.DictReader((folder / "vlb.csv").open()):
        each[row["set"]].append(float(row["bits_per_dim"]))
    for name, bits in each.items():
        assert np.mean(bits) == pytest.approx(result["against"][name]["mean"], abs=1e-4)
    cheaper = np.mean([[a < b for a in each["test"]] for b in each["noise"]])
    assert result["against"]["noise"]["below"] == pytest.approx(cheaper, abs=1e-3)


def test_a_histogram_counts_everything():
    rng = np.random.default_rng(0)
    sets = {"a": rng.normal(0, 1, 1000), "b": np.append(rng.normal(3, 1, 500), 1e6)}
    edges, counts = histogram(sets)
    assert {name: int(c.sum()) for name, c in counts.items()} == {"a": 1000, "b": 501}
    assert edges[-1] < 100  # one outlier does not stretch the picture
    assert counts["b"][-1] >= 1
    same, _ = histogram({"a": np.ones(5)})
    assert (np.diff(same) > 0).all()


@pytest.mark.parametrize("name", ["shuffled", "inverted", "train", "digits"])
def test_sets_by_name(said, name):
    assert said("--method", "vlb", "--n", 2, "--json", "--data", name)["data"] == name


def test_the_share_of_pairs():
    test, other = np.array([1.0, 2.0, 3.0]), np.array([2.0, 9.0])
    assert auroc(test, other) == pytest.approx((1.5 + 3) / 6)
    assert auroc(test, test) == 0.5


def test_data_of_ones_own(said, run, tmp_path):
    """The run's own test pictures from a file cost what they cost."""
    test = load("digits").test
    x, y = test.x[:4].numpy(), test.cond["label"][:4].numpy()
    np.savez(tmp_path / "x.npz", x=x, y=y)
    whole = said("--method", "vlb", "--data", tmp_path / "x.npz", "--json")
    assert (whole["n"], whole["conditional"]) == (4, True)
    np.savez(tmp_path / "bare.npz", x=x.astype(np.float64)[:, 0])
    bare = said("--method", "vlb", "--data", tmp_path / "bare.npz", "--json")
    same = said("--method", "vlb", "--data", tmp_path / "x.npz", "--json", "--unconditional")
    assert not bare["conditional"]
    assert bare["mean"] == same["mean"]
    Image.fromarray((x[0, 0] * 15).astype(np.uint8)).save(tmp_path / "a.png")  # 17 levels of 256
    assert said("--method", "vlb", "--data", tmp_path / "a.png", "--json")["n"] == 1


def test_text_and_a_csv_elsewhere(capfd, run, tmp_path):
    out = tmp_path / "new" / "bits.csv"
    assert main([str(run), "--method", "vlb", "--n", "2", "--out", str(out)]) == 0
    text = "".join(capfd.readouterr())
    assert "±" in text
    assert "bits a dimension" in text
    assert "error by chance" in text
    assert str(out) in text
    assert out.exists()
    assert not (run / "likelihood" / "vlb.csv").exists()


@pytest.mark.parametrize(
    "arrays, fact",
    [
        ({"x": np.zeros((2, 1, 9, 9))}, "the shape 2 x 1 x 9 x 9, the run's examples 1 x 8 x 8"),
        ({"x": np.full((2, 1, 8, 8), 255.0)}, "values from 255 to 255, the run's data go"),
        ({"x": np.full((2, 1, 8, 8), np.nan)}, "NaN, infinite"),
        ({"z": np.zeros((2, 1, 8, 8))}, "holds z, and no array x"),
        ({"x": np.zeros((0, 1, 8, 8))}, "shape"),
        ({"x": np.array(["a", "b"])}, "type"),
        ({"x": np.zeros((2, 1, 8, 8)), "y": np.array([1, 11])}, "run from 1 to 11"),
        ({"x": np.zeros((2, 1, 8, 8)), "y": np.array([1])}, "labels y have shape"),
    ],
)
def test_files_that_do_not_fit_are_refused(run, tmp_path, arrays, fact):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(BadInput, match=fact):
        main([str(run), "--data", str(tmp_path / "x.npz")])
    assert not (run / "likelihood").exists()


def test_damaged_files_are_refused(run, tmp_path):
    for name in ("x.npz", "x.png"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 no")
        with pytest.raises(BadInput, match="x.png cannot be|x.npz' is not a whole"):
            main([str(run), "--data", str(tmp_path / name)])
    np.savez(tmp_path / "o.npz", x=np.array([{}], dtype=object))
    with pytest.raises(BadInput, match="a pickle"):
        main([str(run), "--data", str(tmp_path / "o.npz")])


def test_continuous_data_have_no_levels(tmp_path, capfd):
    from scorefield.cli import main as scorefield

    points = tmp_path / "moons"
    words = ["--images", "128", "--batch", "64", "--net.width", "16", "--checkpoint-every", "128"]
    assert scorefield(["train", "moons", *words, "--out", str(points)]) == 0
    capfd.readouterr()
    assert main([str(points), "--n", "5", "--steps", "8", "--draws", "1", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["trace"] == "exact"
    assert result["cell"] is None
    assert result["chance"] == 0
    assert result["unit"].endswith("density in the data's units")
    with pytest.raises(BadInput, match="data are continuous"):
        main([str(points), "--dequantise", "uniform"])
    assert main([str(points), "--method", "vlb", "--n", "8", "--against", "noise", "--json"]) == 0
