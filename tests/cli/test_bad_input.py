"""Whatever is wrong with the input: one sentence with a remedy, exit 2, nothing half-written."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import scorefield.cli
from scorefield.base import BadInput, Level, Zero
from scorefield.solve import DDIM, sample
from scorefield.store import write_tensors

TRAIN = [
    ("nothing", "unknown recipe 'nothing'"),
    ("digit", "Did you mean 'digits'"),
    ("cifar", "Did you mean 'cifar10'"),
    ("--out x digits", "the recipe comes first"),
    ("digits --lrr 3", "Did you mean --lr"),
    ("digits --lr abc", "--lr"),
    ("digits --batch", "--batch"),
    ("digits --decay never", "--decay"),
    ("digits more words", "more"),
    ("digits --images 0", "images is 0"),
    ("digits --images -5", "images is -5"),
    ("digits --batch 0", "batch is 0"),
    ("digits --lr nan", "--lr is nan"),
    ("digits --lr 0", "lr is 0"),
    ("digits --ema 1", "ema is 1"),
    ("digits --clip -1", "clip is -1"),
    ("digits --warmup -1", "warmup is -1"),
    ("digits --seed -1", "seed is -1"),
    ("digits --seed 99999999999999999999", "seed is 9999"),
    ("digits --checkpoint-every 0", "--checkpoint-every is 0"),
    ("digits --objective.schedule cosin", "Did you mean 'cosine'"),
    ("digits --objective.view epsilon", "Did you mean 'eps'"),
    ("digits --objective.weight minsnr", "Did you mean 'min-snr'"),
    ("digits --objective.times lognorm", "Did you mean 'lognormal'"),
    ("digits --objective.dropout 1", "--objective.dropout is 1"),
    ("digits --objective.dropout nan", "--objective.dropout is nan"),
    ("digits --objective.view eps --objective.schedule flow", "view eps with schedule flow"),
    ("digits --objective.view eps --objective.schedule cosine", "view eps with schedule cosine"),
    ("digits --sample.solver heum", "Did you mean 'heun'"),
    ("digits --sample.grid karas", "Did you mean 'karras'"),
    ("digits --sample.grid timesteps", "has no timesteps"),
    ("digits --sample.steps 0", "--sample.steps is 0"),
    ("digits --sample.guidance nan", "--sample.guidance is nan"),
    ("digits --net.width 0", "--net.width is 0"),
    ("digits --net.width 7", "width is 7"),
    ("digits --net.dropout 2", "dropout is 2"),
    ("digits --net.blocks 0", "blocks is 0"),
    ("digits --net.name mlp", "shape"),
    ("moons --net.name unet", "shape"),
    ("digits --data.name digit", "Did you mean 'digits'"),
    ("digits --data.path here", "takes no --data.path"),
    ("digits --data.size 8", "takes no --data.size"),
    ("folder", "--data.path"),
    ("npz", "--data.path"),
    ("huggingface", "--data.path"),
    ("folder --data.path no-such-folder", "no folder 'no-such-folder'"),
    ("npz --data.path no-such.npz", "--data.path no-such.npz: there is no such file"),
]


@pytest.mark.parametrize("words, says", TRAIN, ids=[words for words, _ in TRAIN])
def test_train_refuses(refused, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused("train", *words.split())
    assert not list(tmp_path.iterdir())


def write_npz(**arrays):
    return lambda path: np.savez(path, **arrays)


DATA = {
    "not finite": (write_npz(x=np.array([[1.0, np.nan]] * 8)), "NaN"),
    "empty": (write_npz(x=np.zeros((0, 2))), "0 example"),
    "one picture": (write_npz(x=np.zeros((1, 8, 8), np.uint8)), "one-image data"),
    "all alike": (write_npz(x=np.full((8, 4, 4), 7.0)), "all one value"),
    "of one number": (write_npz(x=np.full((8, 3), 2.0)), "all one value"),
    "words": (write_npz(x=np.array(["a", "b"])), "real numbers"),
    "objects": (write_npz(x=np.array([{}, {}])), "pickle"),
    "no zip": (lambda path: path.write_bytes(b"\x93NUMPY"), "not a whole .npz"),
    "cut short": (lambda path: (write_npz(x=np.random.rand(64, 9))(path), cut(path)), ".npz"),
    "labels that do not fit": (write_npz(x=np.eye(9), y=np.arange(3)), "3 labels"),
}


def cut(path: Path, by: int = 40) -> None:
    path.write_bytes(path.read_bytes()[:-by])


@pytest.mark.parametrize("kind", DATA)
def test_data_that_cannot_be_trained_on(refused, tmp_path, kind):
    make, says = DATA[kind]
    path = tmp_path / "data.npz"
    make(path)
    assert says in refused("train", "npz", "--data.path", path, "--out", tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]


def test_a_folder_of_nothing_and_of_one_picture(refused, tmp_path):
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    words = ("train", "folder", "--data.path", photos, "--out", tmp_path / "run")
    assert "photos" in refused(*words)
    Image.new("L", (8, 8)).save(photos / "a.png")
    assert "one-image data" in refused(*words)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("command", ["train", "sample"])
def test_a_place_that_cannot_be_written(refused, run, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    words = ("train", "digits") if command == "train" else ("sample", run, "--n", 2)
    assert "a file" in refused(*words, "--out", tmp_path / "file" / "below" / "x")
    if command == "train":
        assert "is a file" in refused(*words, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_while_sampling(refused, run, tmp_path, monkeypatch):
    import os

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = refused("sample", run, "--n", 2, "--out", tmp_path / "new" / "a.png")
    assert "No space left" in said
    assert not (tmp_path / "new").exists()


SAMPLE = [
    ("--solver dpmp2m", "Did you mean 'dpmpp2m'"),
    ("--grid karas", "Did you mean 'karras'"),
    ("--grid timesteps", "has no timesteps"),
    ("--steps 0", "--steps is 0"),
    ("--steps -3", "--steps is -3"),
    ("--n 0", "--n is 0"),
    ("--n -1", "--n is -1"),
    ("--n many", "--n"),
    ("--batch 0", "--batch is 0"),
    ("--columns 0", "--columns is 0"),
    ("--labels 10", "--labels has 10"),
    ("--labels 3-12", "--labels has 10"),
    ("--labels three", "unknown class 'three'"),
    ("--labels 9-0", "Ranges go up"),
    ("--labels ,", "no number or range"),
    ("--labels=-1", "no number or range"),
    ("--labels 3 --unconditional", "exclude"),
    ("--guidance nan", "guidance scale is nan"),
    ("--guidance inf", "guidance scale is inf"),
    ("--seeds 0-9 --n 5", "--seeds has 10 seeds"),
    ("--seeds 9-0", "Ranges go up"),
    ("--seeds 1.5", "no number or range"),
    ("--seeds 99999999999999999999", "64 bits"),
    ("--seeds 0-99999999999999999999", "ten million"),
    ("--seeds 0-9999999,0-9999999", "ten million"),
    ("--out grid.jpg", ".png, .npz"),
    ("--seed 3", "Did you mean --seeds"),
]


@pytest.mark.parametrize("words, says", SAMPLE, ids=[words for words, _ in SAMPLE])
def test_sample_refuses(refused, trained, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in words else ["--out", "new/grid.png"]
    assert says in refused("sample", trained, *words.split(), *out)
    assert not list(tmp_path.iterdir())


def test_other_commands_refuse(refused, trained):
    assert "Did you mean 'train'" in refused("trian")
    assert "--n is 1" in refused("eval", trained, "--n", 1)
    assert "--steps is 0" in refused("eval", trained, "--steps", 0)
    assert "Did you mean 'heun'" in refused("eval", trained, "--solver", "huen")
    assert "Did you mean 'solver'" in refused("explain", "solvr", "ddim")
    assert "Did you mean 'ddim'" in refused("explain", "solver", "dim")
    assert "Did you mean 'solvers'" in refused("catalogue", "solver")
    assert not (trained / "eval.json").exists()


def test_rising_levels_are_out_of_the_command_lines_reach():
    """A grid is chosen by name and every one falls (tests/laws); only Python can turn one over."""
    rising = Level.of(torch.ones(3), torch.tensor([0.0, 1.0, 2.0]))
    with pytest.raises(BadInput, match="levels must decrease in noise"):
        sample(DDIM(), lambda x, level, cond: x, torch.zeros(1, 2), rising, Zero())


# Run folders


def edit_config(run: Path, change) -> None:
    path = run / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def setting(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return change


def without(*keys):
    *above, last = keys

    def change(content):
        for key in above:
            content = content[key]
        del content[last]

    return change


CONFIG = {
    "newer schema": (setting("schema", 4), "schema 4.*Upgrade"),
    "no schema": (without("schema"), "schema None"),
    "schema true": (setting("schema", True), "schema True"),
    "schema 0": (setting("schema", 0), "schema 0"),
    "no config": (without("config"), "config is not an object"),
    "config a list": (setting("config", []), "config is not an object"),
    "no data": (without("data"), "data is not an object"),
    "unknown field": (setting("config", "data", "siz", 1), "unknown field 'siz'. Did you mean 'si"),
    **{
        name: (setting("config", *path, value), says)
        for name, path, value, says in (
            ("word for a number", ("sample", "steps"), "8", "config.sample.steps is '8'"),
            ("true for a number", ("sample", "steps"), True, "config.sample.steps is True"),
            ("fraction for a count", ("sample", "steps"), 1.5, "1.5, not a whole number"),
            ("null for a number", ("sample", "steps"), None, "config.sample.steps is None"),
            ("list of numbers", ("training", "trackers"), [1], "training.trackers.0 is 1"),
            ("not a choice", ("training", "decay"), "x", "'x', not 'cosine' or 'constant'"),
            ("NaN", ("training", "ema"), float("nan"), "config.training.ema is nan, not a finite"),
            ("unknown network", ("net",), "vit", "unknown network 'vit'. Did you mean 'dit'"),
        )
    },
    "two faults": (
        lambda content: content["config"].update(net=3, sample={"steps": "x"}),
        "config.net is 3, not text; .*config.sample.steps is 'x', not a whole number",
    ),
    "option of no network": (setting("config", "net", "unet:colour=1"), "option of unet 'colour'"),
    "word in the network": (setting("config", "net", "unet:width=x"), "width of unet is 'x'"),
    "wrong value": (setting("config", "training", "lr", -1), "config.training: lr is -1"),
    "unknown schedule": (setting("config", "objective", "schedule", "cos"), "Did you mean"),
    "unknown view": (setting("config", "objective", "view", "x1"), "unknown view"),
    "unknown solver": (setting("config", "sample", "solver", "huen"), "Did you mean 'heun'"),
    "no shape": (without("data", "shape"), "no field 'shape'"),
    "empty shape": (setting("data", "shape", []), "shape"),
    "negative shape": (setting("data", "shape", [1, -8, 8]), "shape"),
    "another shape": (setting("data", "shape", [3, 8, 8]), "tensors differ"),
    "fewer classes": (setting("data", "classes", ["a"]), "tensors differ"),
    "classes a word": (setting("data", "classes", "abc"), "data.classes is 'abc'"),
    "no scaling": (without("data", "scaling", "scale"), "scaling has no field 'scale'"),
    "zero scale": (setting("data", "scaling", "scale", [0.0]), "scales"),
    "NaN scale": (setting("data", "scaling", "scale", [float("nan")]), "scaling.scale.0 is nan"),
    "sigma_data 0": (setting("data", "sigma_data", 0.0), "sigma_data is 0"),
    "another network": (setting("config", "net", "unet:width=16"), "tensors differ"),
}


@pytest.mark.parametrize("kind", CONFIG)
def test_a_damaged_config(refused, run, tmp_path, kind):
    change, says = CONFIG[kind]
    edit_config(run, change)
    assert re.search(says, refused("sample", run, "--n", 2, "--out", tmp_path / "new" / "a.png"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe"])
def test_a_config_that_is_no_json_object(refused, run, text):
    (run / "config.json").write_text(text, encoding="latin-1")
    assert "config.json" in refused("sample", run)
    assert "config.json" in refused("train", "digits", "--out", run, "--resume")


def truncate(run):
    cut(run / "ema.safetensors")


def alter(run):
    content = bytearray((run / "ema.safetensors").read_bytes())
    content[-3] ^= 4
    (run / "ema.safetensors").write_bytes(content)


def pickle(run):
    torch.save({"w": torch.zeros(2)}, run / "ema.safetensors")


def exchange(run):
    write_tensors(run / "ema.safetensors", {"w": torch.zeros(2)})


@pytest.mark.parametrize(
    "damage, says",
    [
        (truncate, "ema.safetensors is truncated"),
        (alter, "ema.safetensors is not the file"),
        (pickle, "ema.safetensors is a pickle"),
        (exchange, "ema.safetensors is not the file"),
        (lambda run: (run / "ema.safetensors").unlink(), "ema.safetensors is missing"),
        (lambda run: (run / "state.json").unlink(), "but its state.json is missing"),
        (lambda run: (run / "state.json").write_text("{}"), "state.json has images_seen None"),
        (lambda run: (run / "state.json").write_text("{"), "state.json cannot be read"),
        (lambda run: (run / "config.json").unlink(), "no config.json"),
    ],
    ids=["truncate", "alter", "pickle", "exchange", "lose", "no state", "empty state",
         "torn state", "no config"],
)  # fmt: skip
def test_a_damaged_checkpoint(refused, run, tmp_path, damage, says):
    damage(run)
    out = tmp_path / "new" / "a.png"
    assert says in refused("sample", run, "--n", 2, "--out", out)
    assert says in refused("eval", run, "--n", 2)
    assert not out.parent.exists()
    assert not (run / "eval.json").exists()


@pytest.mark.parametrize("damage", [truncate, alter, pickle], ids=lambda d: d.__name__)
def test_resume_from_a_damaged_checkpoint(refused, run, damage):
    damage(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "ema.safetensors" in refused(
        "train", "digits", "--out", run, "--resume", "--images", 256
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_is_none(refused, tmp_path):
    assert "does not exist" in refused("sample", tmp_path / "no")
    (tmp_path / "file").write_text("")
    assert "is a file" in refused("sample", tmp_path / "file")
    assert "no config.json" in refused("eval", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_foreign_config_is_not_overwritten(refused, tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    assert "config.json has schema None" in refused("train", "digits", "--out", tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    "facts", [{}, {"config": 3, "accuracy": 1}, {"config": {"shape": [1]}, "accuracy": 1}]
)
def test_a_damaged_judge(refused, run, facts):
    (run / "judge.json").write_text(json.dumps(facts))
    write_tensors(run / "judge.safetensors", {"w": torch.zeros(2)})
    assert "judge.json" in refused("eval", run, "--n", 10)


def test_samples_that_are_not_finite_are_not_drawn(refused, run, tmp_path, monkeypatch):
    out = tmp_path / "new" / "a.png"
    said = refused("sample", run, "--n", 3, "--guidance", "1e38", "--out", out)
    assert "3 of 3 samples are not finite, the first of seed 0." in said
    assert not out.parent.exists()


# A bug of ours


def test_a_bug_is_exit_1_and_asks_for_a_report(cli, monkeypatch):
    def bug(*args):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(scorefield.cli, "import_module", bug)
    code, out, err = cli("catalogue")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError: inside" in err
    assert err.splitlines()[-1] == "This is a bug in Scorefield: please report the lines above."


def test_a_second_ctrl_c_is_130(cli, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(scorefield.cli, "import_module", stop)
    assert cli("catalogue") == (130, "", "stopped\n")
