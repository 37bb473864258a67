"""Folders that are malformed or hostile: each refused in one sentence, nothing of them run.

With the pickles of test_checkpoints these are more than 60.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from scorefield.base import BadInput
from scorefield.interop.incoming import taken_in
from tests.interop.foreign import keep, network, scheduler

UNET, PLAN, INDEX = "unet/config.json", "scheduler/scheduler_config.json", "model_index.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
Change = Callable[[Path], Any]


def said(name: str, **more: Any) -> Change:
    """The settings of a part, changed; None takes a key away."""

    def change(folder: Path) -> None:
        content = {**json.loads((folder / name).read_text()), **more}
        content = {k: v for k, v in content.items() if v is not None}
        (folder / name).write_text(json.dumps(content))

    return change


def text(name: str, content: str | bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def gone(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def weights(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS)

    return change


def sharded(table: Any) -> Change:
    return text(f"{WEIGHTS}.index.json", json.dumps({"weight_map": table}))


CODE = "import pathlib; pathlib.Path(MARK).touch()"
CASES: dict[str, tuple[Change, str]] = {
    "no index": (gone(INDEX), "neither model_index"),
    "an index that is no JSON": (text(INDEX, "{"), "cannot be read as JSON"),
    "an index that is a list": (text(INDEX, "[]"), "does not hold a JSON object"),
    "an index nested too deep": (text(INDEX, "[" * 100_000), "cannot be read as JSON"),
    "an index of bytes": (text(INDEX, b"\xff\xfe\x00"), "cannot be read as JSON"),
    "an entry of no pair": (said(INDEX, unet=["diffusers"]), r"must be \[library, class\]"),
    "an entry of numbers": (said(INDEX, unet=[1, 2]), r"must be \[library, class\]"),
    "code of a module": (said(INDEX, unet=["my_code", "Net"]), "whose code is not run"),
    "code of os": (said(INDEX, unet=["os", "system"]), "whose code is not run"),
    "code of ours": (said(INDEX, unet=["scorefield.interop.component", "X"]), "is not run"),
    "a component outside": (said(INDEX, **{"../a": ["diffusers", "X"]}), "names a component"),
    "no network": (said(INDEX, unet=None), "a network and a scheduler are needed"),
    "no scheduler": (said(INDEX, scheduler=None), "a network and a scheduler are needed"),
    "no settings of the network": (gone(UNET), "has no config.json"),
    "no settings of the scheduler": (gone(PLAN), "has no scheduler_config.json"),
    "code in the settings": (said(UNET, auto_map={"x": "code.Net"}), "which is not run"),
    "a class unknown": (said(UNET, _class_name="VQModel"), "unknown network 'VQModel'"),
    "a class of python": (said(UNET, _class_name="__import__"), "unknown network"),
    "no class": (said(UNET, _class_name=None), "unknown network"),
    "a size beyond all": (said(UNET, block_out_channels=[8, 10**12]), "Sizes go up to"),
    "a negative size": (said(UNET, layers_per_block=-5), "Sizes go up to"),
    "sizes that do not go together": (said(UNET, norm_num_groups=3), "cannot be built"),
    "blocks of no kind": (said(UNET, down_block_types=["os.system", "X"]), "cannot be built"),
    "settings of another type": (said(UNET, block_out_channels="all"), "cannot be built"),
    "no sample size": (said(UNET, sample_size=None), "says sample_size"),
    "a sample size of text": (said(UNET, sample_size="8"), "says sample_size"),
    "time as Fourier": (said(UNET, time_embedding_type="fourier"), "cannot be honoured"),
    "classes by a vector": (said(UNET, class_embed_type="identity"), "cannot be honoured"),
    "a scheduler unknown": (said(PLAN, _class_name="ScoreSdeVpScheduler"), "unknown scheduler"),
    "a scheduler of python": (said(PLAN, _class_name="os.system"), "unknown scheduler"),
    "betas of no kind": (said(PLAN, beta_schedule="cubic"), "unknown beta_schedule"),
    "betas beyond 1": (said(PLAN, trained_betas=[0.1, 2.0]), "outside"),
    "betas of text": (said(PLAN, trained_betas="eval()"), "no list of two numbers"),
    "a beta that is none": (said(PLAN, beta_end="0.02"), "beta_end is '0.02'"),
    "steps without end": (said(PLAN, num_train_timesteps=10**12), "2 to a million"),
    "a prediction of no kind": (said(PLAN, prediction_type="noise"), "unknown prediction_type"),
    "epsilon of nothing": (said(PLAN, rescale_betas_zero_snr=True), "terminal SNR of 0"),
    "a time that is continuous": (said(PLAN, timestep_type="continuous"), "cannot be honoured"),
    "no weights": (gone(WEIGHTS), "has no weights"),
    "weights of text": (text(WEIGHTS, "weights"), "truncated or not a safetensors"),
    "a pickle by another name": (text(WEIGHTS, b"\x80\x04cos\nsystem\n."), "is a pickle"),
    "a header of lies": (text(WEIGHTS, b"\xff" * 64), "truncated or not a safetensors"),
    "a header without end": (text(WEIGHTS, (2**62).to_bytes(8, "little")), "truncated"),
    "weights cut short": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]),
                          "truncated"),
    "a weight missing": (weights(lambda t: t.pop("conv_in.weight")), "lacks the weights conv_in"),
    "a weight too many": (weights(lambda t: t.update(extra=torch.ones(1))), "has not: extra"),
    "a weight of another shape": (weights(lambda t: t.update({"conv_in.bias": torch.ones(9)})),
                                  "another shape: conv_in.bias"),
    "a weight that is no number": (weights(lambda t: t["conv_in.bias"].fill_(torch.nan)),
                                   "not finite: conv_in.bias"),
    "weights of whole numbers": (weights(lambda t: t.update({k: v.to(torch.uint8)
                                                             for k, v in t.items()})),
                                 "of another type"),
    "a shard outside": (sharded({"a": "../../secret.safetensors"}), "names the shard"),
    "a shard by a full path": (sharded({"a": "/etc/passwd"}), "names the shard"),
    "a shard that is a pickle": (sharded({"a": "model.bin"}), "names the shard"),
    "a shard of no name": (sharded({"a": 3}), "names the shard"),
    "shards of nothing": (sharded({}), "has no weight_map"),
    "a shard that is not there": (sharded({"a": "b.safetensors"}), "b.safetensors"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return keep(tmp_path_factory.mktemp("good"), network(), scheduler())


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_sentence(name, good, tmp_path, monkeypatch):
    folder, out = tmp_path / "folder", tmp_path / "run"
    shutil.copytree(good, folder)
    change, says = CASES[name]
    change(folder)
    mark = tmp_path / "ran"
    for place in ("code.py", "unet/code.py", "unet/Net.py", "my_code.py", "pipeline.py"):
        (folder / place).write_text(CODE.replace("MARK", repr(str(mark))))
    monkeypatch.chdir(folder)
    with pytest.raises(BadInput, match=says) as caught:
        taken_in(folder, out)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert not mark.exists()
    assert not out.exists()


def test_weights_that_are_a_pickle_alone(good, tmp_path):
    shutil.copytree(good, tmp_path / "folder")
    file = tmp_path / "folder" / WEIGHTS
    torch.save(load_file(file), file.with_name("diffusion_pytorch_model.bin"))
    file.unlink()
    with pytest.raises(BadInput, match="only diffusion_pytorch_model.bin, a pickle"):
        taken_in(tmp_path / "folder", tmp_path / "run")


def test_the_good_one_is_taken(good, tmp_path):
    """The planted twin: without a change nothing is refused."""
    assert taken_in(good, tmp_path / "run").record["network"] == "UNet2DModel"


def test_there_are_enough():
    from tests.interop.test_checkpoints import hostile

    assert len(CASES) + len(hostile("")) > 60
