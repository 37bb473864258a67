"""Runs of autoencoders and on their latents: each verb works, or says why not."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scorefield.base import BadInput
from scorefield.cli import main
from scorefield.data import load as load_data
from scorefield.data.codec import Latents
from scorefield.data.readers.decoded import CachePlace
from scorefield.data.readers.latents import LatentCache
from scorefield.data.readers.maps import MappedArray
from scorefield.draw import walk
from scorefield.run.autoencoder import begin_codec, open_autoencoder
from scorefield.run.open import load, open_run
from scorefield.run.recipes import recipe
from scorefield.run.train import fit_run
from scorefield.serve.body import SamplesBody
from scorefield.serve.network import Network
from scorefield.serve.work import work
from scorefield.store import read_json, read_tensors, write_json, write_tensors
from scorefield.use.generate import generate

CODER = ["--net.width", "16", "--batch", "32", "--images", "640", "--checkpoint-every", "640"]
PRIOR = ["--net.width", "8", "--net.blocks", "1", "--batch", "32", "--images", "128",
         "--checkpoint-every", "64", "--sample.steps", "3", "--decay", "constant",
         "--warmup", "0"]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A tiny autoencoder and a tiny run on its latents."""
    home = tmp_path_factory.mktemp("latent")
    assert main(["train", "digits-autoencoder", "--out", str(home / "coder"), *CODER]) == 0
    out = ["--codec", str(home / "coder"), "--out", str(home / "run")]
    assert main(["train", "digits-latent", *out, *PRIOR]) == 0
    return home


@pytest.fixture
def moved(home, tmp_path) -> Path:
    """The run alone, elsewhere: its autoencoder is not there."""
    return shutil.copytree(home / "run", tmp_path / "elsewhere")


def resume(home: Path, run: Path, images: int = 256) -> list[str]:
    words = ["digits-latent", "--codec", str(home / "coder"), "--out", str(run), *PRIOR]
    return ["train", *words, "--resume", "--images", str(images)]


def test_the_folder_says_what_its_latents_are(home):
    content = read_json(home / "run/config.json")
    coder = open_autoencoder(home / "coder")
    said = content["data"]["codec"]
    assert content["config"]["codec"] == str(home / "coder")
    assert (said["shape"], content["data"]["shape"]) == ([16], [1, 8, 8])
    assert content["data"]["sigma_data"] == 1.0
    data = coder.config.load_data()
    x0 = data.batch(data.train, torch.arange(len(data.train)))[0]
    mean, std = Latents(coder.module).spread(x0)
    variance = mean.var(correction=0) + std.square().mean()
    assert said["scale"] == pytest.approx(float(variance) ** -0.5, rel=1e-5)
    pixels = read_json(home / "coder/config.json")
    assert "codec" not in pixels["data"]
    assert "codec" not in pixels["config"]


VERBS = """
sample RUN --n 4 --out s.png
sample RUN --n 4 --labels 3 --out s.npz
sample RUN --n 2 --out s.gif
edit RUN --input test:0 --n 2 --out e.png
edit RUN --input test:0 --encode --labels 3 --out e.npz
interpolate RUN --from test:0 --to test:1 --between 2 --out i.png
interpolate RUN --from test:0 --attribute 8,3 --between 2 --out i.npz
encode RUN --input test:0 --out z.npz
encode RUN --decode z.npz --out x.npz
restore RUN --operator random:.5 --input test:0 --n 2 --steps 4 --out r
compare RUN --solvers ddim,arc --steps 2 --n 4 --out c
eval RUN --n 40
likelihood RUN --n 2 --steps 4
fit-grid RUN --steps 2 --solver ddim --rounds 1 --starts 16
train-classifier RUN --images 256
distill RUN --method consistency --images 64 --out student
sample student --steps 1 --n 2 --out t.png
reconstruct RUN --input test:3 --out a.png
reconstruct CODER --out b.npz
sample CODER --n 3 --out v.npz
eval CODER --n 40
likelihood CODER --n 2 --steps 4
report RUN
report CODER
"""


def test_every_verb_works_on_latents(home, moved, tmp_path, monkeypatch, cli):
    """Wherever the folder lies, without its autoencoder."""
    monkeypatch.setattr("scorefield.use.judge.SEEN", 4000)
    coder = shutil.copytree(home / "coder", tmp_path / "coder")
    monkeypatch.chdir(tmp_path)
    for line in VERBS.strip().splitlines():
        words = [{"RUN": moved, "CODER": coder}.get(word, word) for word in line.split()]
        code, _, err = cli(*words)
        assert code == 0, (line, err)
    x = np.load("s.npz")["x"]
    assert x.shape == (4, 1, 8, 8)
    assert -3 < x.min() < x.max() < 19  # levels 0..16: not those of latents
    assert np.load("z.npz")["z"].shape == (1, 16)
    assert np.load("x.npz")["x"].shape == (1, 1, 8, 8)
    assert (moved / "student/codec.safetensors").exists() or Path("student").is_dir()
    assert "on latents" in (moved / "report.html").read_text()
    page = (coder / "report.html").read_text()
    for heading in ("Walks along a latent", "A map of the latents", "What each number of a latent"):
        assert heading in page


REFUSED = """
anagram RUN --views identity,flip => works on latents, and views are of pictures
export RUN --to torch => works on latents, and their decoder has no place
restore RUN --operator random:.5 --input test:0 --method ddrm => whose decoder is not linear
sample CODER --labels 3 => this model has no classes
reconstruct RUN --input no.png => there is no such file
reconstruct PIXELS => is no autoencoder and works on no latents
train digits-latent --codec PIXELS --out new => is no autoencoder: it learned regression
train digits-latent --codec nothing --out new => nothing does not exist
train moons --codec CODER --net auto --out new => encodes examples of shape (1, 8, 8)
train digits-latent --codec CODER --net unet --out new => --net.name unet does not read
train digits-autoencoder --codec CODER --out new => --codec is not of an autoencoder's training
train digits-autoencoder --net unet --out new => is an autoencoder's, and --net.name is unet
train digits --net autoencoder --out new => is of a denoiser
train digits-autoencoder --objective.kind vae:betta=1 --out new => Did you mean 'beta'
train moons --net auto --objective.kind vae:decoder=logistic --out new => has a decoder of levels
edit RUN --input test:0 --mask MASK => latents of shape (16,), which have no places
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_what_is_refused_on_latents(line, home, trained, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", np.eye(8))
    stand_for = {"RUN": home / "run", "CODER": home / "coder", "PIXELS": trained}
    stand_for["MASK"] = tmp_path / "mask.npy"
    words, says = line.split(" => ")
    said = refused(*(stand_for.get(word, word) for word in words.split()))
    assert says in said
    assert not Path("new").exists()


def test_a_copy_that_is_missing_or_another_is_refused(home, moved, tmp_path, refused):
    copy = moved / "codec.safetensors"
    weights = read_tensors(copy)
    write_tensors(copy, {name: w + 1e-3 for name, w in weights.items()})
    assert "is another autoencoder than" in refused("sample", moved, "--n", 1)
    copy.unlink()
    assert "without which its latents mean nothing" in refused("sample", moved, "--n", 1)
    assert "without which its latents mean nothing" in refused(*resume(home, moved))


def test_an_autoencoder_that_was_trained_on_is_refused(home, moved, tmp_path, refused):
    """By a run that would go on, while samples are of the copy."""
    coder = shutil.copytree(home / "coder", tmp_path / "coder")
    file = moved / "config.json"
    content = read_json(file)
    content["config"]["codec"] = str(coder)
    write_json(file, content, seal=False)
    words = ["digits-autoencoder", "--out", str(coder), *CODER, "--resume", "--images", "704"]
    assert main(["train", *words]) == 0
    told = ["train", "digits-latent", "--codec", coder, "--out", moved, *PRIOR, "--resume"]
    assert "was trained on since this run began" in refused(*told, "--images", 256)
    assert main(["sample", str(moved), "--n", "1", "--out", str(tmp_path / "a.png")]) == 0


def test_latents_without_a_finite_scale_are_refused(home, monkeypatch):
    config = recipe("digits-latent")
    coder = open_autoencoder(home / "coder")
    for value, says in ((0.0, "variance 0"), (float("nan"), "variance nan")):
        last: Any = coder.module.encoder[-1]
        last.weight.fill_(0)
        last.bias.fill_(value)
        coder.module.regulariser = "none"
        coder.module.latent_shape = (32,)
        monkeypatch.setattr("scorefield.run.autoencoder.open_autoencoder", lambda path: coder)
        with pytest.raises(BadInput, match=f"{says} over the data, to which no finite scale"):
            begin_codec(config, coder.config.load_data())


def test_a_posterior_that_collapsed_is_warned_of(home, tmp_path):
    config = recipe("digits-autoencoder")
    settings: dict[str, Any] = {"images": 640, "batch": 32}
    weak = dataclasses.replace(
        config,
        net="mlp-autoencoder:width=16,latent=16",
        objective=dataclasses.replace(config.objective, kind="vae:beta=30"),
    )
    fit_run(weak, tmp_path / "weak", **settings)
    prior = dataclasses.replace(recipe("digits-latent"), codec=str(tmp_path / "weak"))
    with pytest.warns(UserWarning, match=r"\d+% of the numbers of a latent say nothing"):
        fit_run(prior, None, **settings)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return read_tensors(path / "ema.safetensors")


def same(a: Path, b: Path) -> bool:
    one, two = weights_of(a), weights_of(b)
    return all(torch.equal(one[name], two[name]) for name in one)


def test_draws_and_modes_are_a_choice_and_both_come_again(home, tmp_path):
    words = ["digits-latent", "--codec", str(home / "coder"), *PRIOR]
    for name, choice in (("a", "sample"), ("b", "mode"), ("c", "mode")):
        out = ["--out", str(tmp_path / name), "--latents", choice]
        assert main(["train", *words, *out]) == 0
    assert same(home / "run", tmp_path / "a")  # the default, again
    assert same(tmp_path / "b", tmp_path / "c")
    assert not same(tmp_path / "a", tmp_path / "b")


def test_a_run_on_latents_goes_on_exactly(home, moved, tmp_path):
    assert main(resume(home, moved, 192)) == 0
    whole = ["digits-latent", "--codec", str(home / "coder"), *PRIOR, "--images", "192"]
    assert main(["train", *whole, "--out", str(tmp_path / "whole")]) == 0
    assert same(moved, tmp_path / "whole")


def test_in_python(home):
    denoiser = load(home / "run")
    x = generate(denoiser, 3, labels=[1], steps=3)
    assert x.shape == (3, 1, 8, 8)
    z = denoiser.encode(x)
    assert z.shape == (3, 16)
    assert denoiser.decode(z).shape == x.shape
    assert "codec" not in " ".join(denoiser.state_dict())
    assert open_run(home / "coder").denoiser.shape == (16,)


def test_a_mask_of_a_picture_is_one_of_its_latents(home, tmp_path, monkeypatch):
    """Of an autoencoder whose latents have places: what the mask keeps is kept."""
    monkeypatch.chdir(tmp_path)
    net = ["--net", "autoencoder:width=8,multipliers=1-2,latent=2"]
    short = ["--batch", "32", "--images", "64", "--checkpoint-every", "64"]
    assert main(["train", "digits-autoencoder", "--out", "coder", *net, *short]) == 0
    words = ["--codec", "coder", "--net", "auto:width=8,blocks=1,multipliers=1", "--out", "run"]
    assert main(["train", "digits-latent", *words, *short, "--sample.steps", "2"]) == 0
    np.save("mask.npy", np.triu(np.ones((8, 8))))
    told = ["--input", "test:0", "--mask", "mask.npy", "--n", "2", "--steps", "6"]
    assert main(["edit", "run", *told, "--out", "e.npz"]) == 0
    data = load_digits()
    x, kept = np.load("e.npz")["x"], np.tril(np.ones((8, 8), bool), -1)
    np.testing.assert_allclose(x[:, 0, kept], np.tile(data[kept], (2, 1)), atol=1e-4)
    assert np.abs(x[:, 0, ~kept] - data[~kept]).max() > 0.1


def load_digits() -> np.ndarray:
    return load_data("digits").test.x[0, 0].numpy()


def test_the_json_says_by_what(home, cli):
    code, out, _ = cli("likelihood", home / "run", "--n", 2, "--steps", 4, "--json")
    assert code == 0
    assert json.loads(out)["codec"] == "encoder's bound"


def test_the_service_answers_with_pictures(home):
    network = Network.of("latent", open_run(home / "run"))
    body = SamplesBody(model="latent", seeds=[3, 4], labels=["1", "2"], format="x")
    asked = work(network, body, {"latent": network}.__getitem__)
    *_, end = walk(asked.job, network.denoise)
    told = asked.answer(end.job.x)["samples"]
    x = generate(network.run.denoiser, seeds=[3, 4], labels=[1, 2], steps=3, guidance=1.3)
    found = torch.tensor([row["x"] for row in told])
    torch.testing.assert_close(network.run.info.scaling.encode(found), x, atol=1e-5, rtol=0)


def test_a_student_of_latents_and_its_student(home, tmp_path):
    """Progressive distillation goes on from its own student, in latents as in pixels."""
    run = home / "run"
    for first, last in ((4, 2), (2, 1)):
        out, method = tmp_path / str(last), f"progressive:first={first},last={last}"
        words = ["--method", method, "--images", "64", "--out", str(out)]
        assert main(["distill", str(run), *words]) == 0
        assert main(["sample", str(out), "--n", "2", "--out", str(out / "x.npz")]) == 0
        assert np.load(out / "x.npz")["x"].shape == (2, 1, 8, 8)
        run = out


def cached(home: Path, out: Path, disk: Path, *words: str) -> int:
    said = ["digits-latent", "--codec", str(home / "coder"), "--out", str(out), *PRIOR, *words]
    return main(["train", *said, "--data.cache", str(disk)])


def same_runs(run: Path, other: Path) -> None:
    for name in ("model", "ema", "optimizer"):
        own, theirs = (read_tensors(path / f"{name}.safetensors") for path in (run, other))
        assert all(torch.equal(own[key], theirs[key]) for key in own | theirs)
    own, theirs = (read_json(path / "config.json")["data"] for path in (run, other))
    assert own == theirs


def test_latents_on_disk_are_made_once_and_train_the_same_run(home, tmp_path, monkeypatch):
    """To the bit; also of a run that goes on, and by another that finds them there."""
    disk = tmp_path / "disk"
    assert cached(home, tmp_path / "a", disk) == 0
    same_runs(tmp_path / "a", home / "run")
    (made,) = [path for path in disk.iterdir() if path.is_dir()]
    names = [
        f"{split}.{what}.safetensors" for split in ("test", "train") for what in ("mean", "std")
    ]
    assert sorted(path.name for path in made.iterdir()) == ["about.json", *names]

    def again(self, x):
        raise AssertionError("the encoder runs again")

    asked: dict[str, list] = {}  # of the disk, before they are looked at

    def expect(self, rows):
        asked.setdefault(Path(str(self.filename)).name, []).append(list(rows))

    with monkeypatch.context() as patch:
        patch.setattr(Latents, "spread", again)
        patch.setattr(MappedArray, "expect", expect)
        assert cached(home, tmp_path / "b", disk) == 0
        means, deviations = (asked[f"train.{what}.safetensors"] for what in ("mean", "std"))
        assert means == deviations
        assert {len(rows) for rows in means} == {32}
        assert cached(home, tmp_path / "b", disk, "--resume", "--images", "256") == 0
    assert main(resume(home, shutil.copytree(home / "run", tmp_path / "c"))) == 0
    same_runs(tmp_path / "b", tmp_path / "c")


def test_latents_of_other_weights_are_others(home, tmp_path):
    disk = CachePlace(tmp_path, asked=True)
    data = load_data("digits")
    made = [LatentCache.of(disk, data, (16,), digest, True) for digest in ("a", "b")]
    moved = dataclasses.replace(data, train=dataclasses.replace(data.train, x=data.train.x.flip(0)))
    made.append(LatentCache.of(disk, moved, (16,), "a", True))
    assert len({cache.folder for cache in made if cache}) == 3
    assert LatentCache.of(disk._replace(asked=False), data, (16,), "a", True) is None


def test_a_cut_latent_cache_is_refused(home, tmp_path, refused):
    disk = tmp_path / "disk"
    assert cached(home, tmp_path / "a", disk) == 0
    (path,) = disk.glob("latents-*/train.mean.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    words = ["--codec", str(home / "coder"), "--out", str(tmp_path / "b"), *PRIOR]
    said = refused("train", "digits-latent", *words, "--data.cache", disk)
    assert "is missing or not of its" in said
