"""Sounds, series and films through the verbs: written as .wav, forecast, filled in, continued."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.cli import main
from scorefield.run.open import data_of, open_run
from scorefield.run.pairs import continued, lead
from scorefield.store import write_wavs
from tests.refusal import refused as bad

SHORT = ["--batch", "16", "--images", "32", "--checkpoint-every", "32", "--sample.steps", "2"]
NET = ["--net", "auto:width=8,blocks=1,multipliers=1,norms=1,fold=2,attention=()"]
FILM = ["--net", "auto:width=8,blocks=1,multipliers=1,norms=1,fold=3-2-2,attention=()"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    pytest.importorskip("soundfile")
    home, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for k in range(40):
        file = home / "data" / "ab"[k % 2] / f"{k}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        x = rng.normal(size=1024) if k % 2 else np.sin(np.arange(1024) / (9 + k))
        with wave.open(str(file), "wb") as out:
            out.setparams((1, 2, 8000, 0, "NONE", ""))
            out.writeframes((8000 * x).clip(-32767, 32767).astype("<i2").tobytes())
    words = ["--data.path", str(home / "data"), "--data.size", "1024", "--data.rate", "8000"]
    net = ["--net", "auto:width=8,blocks=1,multipliers=1,norms=1,fold=16,attention=()"]
    assert main(["train", "sounds", *words, "--out", str(home / "run"), *SHORT, *net]) == 0
    return home / "run"


def test_sounds_are_sampled_measured_and_restored(sounds, tmp_path, cli, refused, monkeypatch):
    monkeypatch.setattr("scorefield.use.judge.SEEN", 100)
    assert cli("sample", str(sounds), "--n", "3", "--out", str(tmp_path / "all.wav"))[0] == 0
    with wave.open(str(tmp_path / "all.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 3 * 1024 + 2 * 2000)
    assert cli("sample", str(sounds), "--n", "2", "--out", str(tmp_path / "each"))[0] == 0
    assert sorted(f.name for f in (tmp_path / "each").iterdir()) == ["000000-a.wav", "000001-b.wav"]
    assert cli("sample", str(sounds), "--n", "2", "--out", str(tmp_path / "s.png"))[0] == 0
    assert Image.open(tmp_path / "s.png").height > 160  # a chart with its spectra below
    assert cli("eval", str(sounds), "--n", "20")[0] == 0
    record = json.loads((sounds / "eval.json").read_text())
    assert record["log_spectral_distance"] > record["log_spectral_distance_real"] > 0
    assert record["agreement"]["total"]["n"] == 20
    for operator in ("gap:300,100", "pool:2"):
        words = ["--operator", operator, "--input", "test:0", "--n", "2", "--steps", "3"]
        assert cli("restore", str(sounds), *words, "--out", str(tmp_path / "r"))[0] == 0
        assert (tmp_path / "r" / "restoration-2.wav").stat().st_size == 44 + 2 * 1024
        assert Image.open(tmp_path / "r" / "sheet.png").width > 300
    clip = str(sounds.parent / "data" / "a" / "0.wav")
    words = ["--operator", "gap:300,100", "--n", "1", "--steps", "2", "--out", str(tmp_path / "o")]
    assert cli("restore", str(sounds), "--input", clip, *words)[0] == 0
    write_wavs([(tmp_path / "silent.wav", np.zeros((99, 1)))], 8000)
    silent = str(tmp_path / "silent.wav")
    assert "it is silent" in refused("restore", str(sounds), "--input", silent, *words)
    again = ["--resume", "--out", str(sounds), "--data.rate", "16000"]
    assert "--data.rate 8000" in refused("train", "sounds", *again)


def test_series_are_forecast(tmp_path, cli, refused):
    rows = "\n".join(f"{np.sin(k / 3):.4f}" for k in range(400))
    (tmp_path / "x.csv").write_text(rows)
    run = str(tmp_path / "run")
    words = ["--data.path", str(tmp_path / "x.csv"), "--data.size", "16", "--out", run]
    assert "longer than the past" in refused(
        "train", "series", *words, *SHORT, *NET, "--data.corruption", "future:9"
    )
    assert cli("train", "series", *words, *SHORT, *NET, "--data.corruption", "future:4")[0] == 0
    assert cli("sample", run, "--n", "2", "--out", str(tmp_path / "s.wav"))[0] == 2
    out = str(tmp_path / "r")
    asked = ["--input", "test:0", "--noise", "0", "--n", "4", "--out", out]
    assert "was trained on future:4" in refused("restore", run, "--operator", "future:2", *asked)
    assert cli("restore", run, "--operator", "future:4", *asked)[0] == 0
    record = json.loads((tmp_path / "r" / "restore.json").read_text())
    assert record["crps"] > 0
    assert record["misfit"] < 1e-6  # the past is kept as it was
    assert Image.open(tmp_path / "r" / "sheet.png").width > 300
    assert cli("eval", run, "--n", "20")[0] == 0
    opened = open_run(run)
    y = torch.zeros(300, 1, 16)  # more rows than are drawn at a time
    y[:, :, :12] = torch.arange(300.0)[:, None, None] / 300
    made = lead(opened.denoiser, opened.config, opened.info, y, list(range(300)), 2).x
    assert torch.equal(made[:, :, :12], y[:, :, :12])


def test_films_move_and_go_on(tmp_path, cli):
    run = tmp_path / "run"
    assert cli("train", "moving-digits", "--out", str(run), *SHORT, *FILM)[0] == 0
    assert cli("sample", str(run), "--n", "4", "--out", str(tmp_path / "f.gif"))[0] == 0
    with Image.open(tmp_path / "f.gif") as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
    opened = open_run(run)
    _, cond = data_of(opened).batch(data_of(opened).test, torch.arange(2))
    told = opened.denoiser, opened.config, opened.info, cond["image"]
    longer = continued(*told, [0, 1], 2)
    assert longer.shape == (2, 1, 5, 16, 16)
    assert torch.equal(longer[1:], continued(*told, [0, 1], 2)[1:])
    mean = continued(*told, [0, 1], 0, steps=1)
    assert torch.equal(mean, lead(*told, [0, 1], 1).x)
    assert not torch.equal(mean, continued(*told, [0, 1], 0))
    other = opened.config.__class__()
    bad("was trained with", continued, opened.denoiser, other, opened.info, cond["image"], [0], 1)


VERBS = """
sample RUN --n 2 --out OUT/s.png
sample RUN --n 2 --out OUT/s.npz
edit RUN --input test:0 --n 1 --out OUT/e.npz
restore RUN --operator OPERATOR --input test:0 --noise 0 --n 2 --steps 3 --out OUT/r
eval RUN --n 20
distill RUN --method consistency --images 32 --out OUT/student
sample OUT/student --n 2 --out OUT/one.npz
report RUN
"""
"""What is asked of each; tests/serve/test_kinds.py asks `serve`."""


@pytest.mark.parametrize("kind", ["sounds", "mel", "series", "films"])
def test_every_verb_for_what_goes_on_in_time(kind, request, tmp_path, cli, refused, monkeypatch):
    """Sounds as waves and as log-mel pictures, series and films that are told their past."""
    monkeypatch.setattr("scorefield.use.judge.SEEN", 100)
    run, out = tmp_path / "run", tmp_path
    if kind in ("sounds", "mel"):
        data = str(request.getfixturevalue("sounds").parent / "data")
        mel = ["--data.mel", "16"] if kind == "mel" else []
        pytest.importorskip("librosa" if mel else "soundfile")
        words = ["sounds", "--data.path", data, "--data.size", "1024", "--data.rate", "8000", *mel]
    elif kind == "series":
        (tmp_path / "x.csv").write_text("\n".join(f"{np.sin(k / 3):.4f}" for k in range(400)))
        words = ["series", "--data.path", str(tmp_path / "x.csv"), "--data.size", "16",
                 "--data.corruption", "future:4"]  # fmt: skip
    else:
        words = ["moving-digits"]
    net = FILM if kind == "films" else NET
    assert main(["train", *words, "--out", str(run), *SHORT, *net]) == 0
    operator = {"sounds": "gap:300,100", "mel": "box:2,2,4,4", "series": "future:4"}
    stand_for = {"RUN": str(run), "OPERATOR": operator.get(kind, "future:1")}
    for line in VERBS.strip().splitlines():
        words = [stand_for.get(word, word.replace("OUT", str(out))) for word in line.split()]
        code, _, err = cli(*words)
        assert code == 0, (line, err)
    if kind not in ("sounds", "mel"):
        assert "makes no sounds" in refused("sample", str(run), "--n", "2", "--out", out / "s.wav")
        return
    assert cli("sample", str(run), "--n", "2", "--out", str(out / "each"))[0] == 0
    files = sorted((out / "each").iterdir()) + sorted((out / "r").glob("*.wav"))
    assert [file.stat().st_size for file in files] == 4 * [44 + 2 * 1024]
