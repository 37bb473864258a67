"""`scorefield ema`: averages of other lengths from a run's snapshots."""

import json
from pathlib import Path

import pytest
import torch

from scorefield.cli import main
from scorefield.store import load_checkpoint, read_tensors

WORDS = [
    "--net.width", "8", "--net.blocks", "1", "--net.multipliers", "1", "--batch", "8",
    "--images", "128", "--checkpoint-every", "64", "--snapshot-every", "32", "--sample.steps", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A tiny run with snapshots."""
    out = tmp_path_factory.mktemp("kept") / "run"
    assert main(["train", "digits", "--out", str(out), *WORDS]) == 0
    return out


def made(run, length: str) -> dict[str, torch.Tensor]:
    return read_tensors(run / "averages" / f"{length}.safetensors")


def test_a_stored_length_comes_back_as_it_was(cli, kept):
    code, out, _ = cli("ema", kept, "--length", "0.05")
    assert code == 0
    assert "averages/0.05.safetensors: length 0.05 at 128 images, from 8 snapshots" in out
    (ema,), _ = load_checkpoint(kept, "ema-0.05")
    average = made(kept, "0.05")
    assert average.keys() == ema.keys()
    assert all(torch.allclose(average[k], v, rtol=1e-6, atol=1e-7) for k, v in ema.items())


def test_json_names_the_file_and_its_error(cli, kept):
    code, out, err = cli("ema", kept, "--length", "0.07", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said.keys() == {
        "out", "length", "images", "snapshots", "error", "verb", "run", "how", "items",
    }  # fmt: skip
    assert 0 < said["error"] < 0.05
    assert (said["images"], said["snapshots"]) == (128, 8)
    (near,), _ = load_checkpoint(kept, "ema-0.05")
    (far,), _ = load_checkpoint(kept, "model")

    def distance(other: dict[str, torch.Tensor]) -> float:
        return sum(float((v - other[k]).square().sum()) for k, v in made(kept, "0.07").items())

    assert 0 < distance(near) < distance(far)


def test_an_earlier_stage(cli, kept):
    code, out, _ = cli("ema", kept, "--length", "0.1", "--images", "64", "--json")
    assert code == 0
    assert json.loads(out)["snapshots"] == 4
    then = read_tensors(kept / "snapshots" / "000000064-0.1.safetensors")
    assert all(
        torch.allclose(made(kept, "0.1")[k], v, rtol=1e-6, atol=1e-7) for k, v in then.items()
    )


def test_a_rough_average_is_said_to_be_one(cli, kept):
    code, _, err = cli("ema", kept, "--length", "0.25")
    assert code == 0
    assert "take more snapshots" in err


def test_snapshots_past_the_checkpoint_do_not_count(cli, kept):
    late = kept / "snapshots" / "000000160-0.1.safetensors"
    late.write_bytes((kept / "snapshots" / "000000128-0.1.safetensors").read_bytes())
    try:
        assert json.loads(cli("ema", kept, "--json").out)["images"] == 128
    finally:
        late.unlink()


def test_a_run_without_snapshots_is_refused(refused, run):
    assert "has no snapshots. Train with --snapshot-every N" in refused("ema", run)
    assert not (run / "averages").exists()


@pytest.mark.parametrize(
    "flags, says",
    [
        ("--length 0.5", "relative length of an average is 0.5"),
        ("--length 0", "relative length of an average is 0"),
        ("--images 1000", "--images is 1,000, the snapshots are from 32 to 128"),
        ("--images 8", "--images is 8"),
    ],
)
def test_what_cannot_be_made_is_refused(refused, kept, flags, says):
    assert says in refused("ema", kept, *flags.split())


def test_a_damaged_snapshot_is_named(refused, kept):
    path = kept / "snapshots" / "000000096-0.05.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    try:
        assert "000000096-0.05.safetensors is truncated" in refused("ema", kept, "--length", "0.07")
    finally:
        path.write_bytes(content)
