"""Pickled checkpoints, read without running what they name."""

import collections
import json
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scorefield import interop
from scorefield.store.inert import Inert, read_checkpoint, state_of
from tests.interop.foreign import network
from tests.refusal import refused

ADM = {
    "sample_size": 16, "in_channels": 3, "out_channels": 6, "layers_per_block": 1,
    "block_out_channels": (32, 64), "norm_num_groups": 32, "attn_norm_num_groups": 32,
    "attention_head_dim": 16, "resnet_time_scale_shift": "scale_shift",
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"), "num_class_embeds": 5,
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"), "downsample_type": "resnet",
    "upsample_type": "resnet",
}  # fmt: skip
HERE = {
    "down_blocks.0.resnets.0": "input_blocks.1.0", "down_blocks.0.downsamplers.0":
    "input_blocks.2.0", "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1", "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0", "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0", "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0": "output_blocks.1.2", "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2", "class_embedding": "label_emb",
}  # fmt: skip
LEAVES = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
          "group_norm": "norm", "to_out.0": "proj_out"}  # fmt: skip


def as_adm(net: nn.Module, new_order: bool) -> dict[str, torch.Tensor]:
    """The weights of a UNet2DModel under the names of guided-diffusion, attention by heads."""
    found, qkv = {}, collections.defaultdict(dict)
    for name, tensor in net.state_dict().items():
        head = max((h for h in HERE if name.startswith(f"{h}.")), key=len)
        rest = name[len(head) + 1 :]
        if m := re.fullmatch(r"to_([qkv])\.(\w+)", rest):
            qkv[HERE[head], m[2]][m[1]] = tensor
            continue
        stem, _, leaf = rest.rpartition(".")
        to = f"{HERE[head]}.{LEAVES[stem]}" if stem else HERE[head]
        found[f"{to}.{leaf}"] = (
            tensor[..., None] if stem == "to_out.0" and leaf == "weight" else tensor
        )
    for (at, leaf), parts in qkv.items():
        q, k, v = (parts[key].unflatten(0, (-1, 16)) for key in "qkv")
        rows = torch.cat([q, k, v]) if new_order else torch.stack([q, k, v], 1)
        rows = rows.flatten(0, -2 if leaf == "weight" else -1)
        found[f"{at}.qkv.{leaf}"] = rows[..., None] if leaf == "weight" else rows
    return found


@pytest.mark.parametrize("new_order", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
@torch.no_grad()
def test_adm(new_order, zipped, tmp_path):
    net = network(**ADM)
    weights = collections.OrderedDict(as_adm(net, new_order))
    weights._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  as a state_dict has it
    torch.save(weights, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    flags = {"image_size": 16, "num_head_channels": 16, "use_new_attention_order": new_order}
    (tmp_path / "a.json").write_text(json.dumps(flags))
    with pytest.warns(UserWarning, match="clip_sample"):
        denoiser = interop.load(tmp_path / "a.pt")
    x, label = torch.randn(2, 3, 16, 16), torch.tensor([1, 4])
    level = denoiser.schedule(torch.tensor(0.25, dtype=torch.float64))
    eps = net(x, 249, label).sample[:, :3]
    a, s = level.like(x)
    own = denoiser(x, level, {"label": label})
    assert torch.allclose(own, (x - s * eps) / a, atol=1e-5)
    assert denoiser.moments(x, level, {"label": label})[1].shape == x.shape


def test_adm_needs_its_size(tmp_path):
    torch.save(as_adm(network(**ADM), True), tmp_path / "a.pt")
    refused("of which size", interop.load, tmp_path / "a.pt")
    (tmp_path / "a.json").write_text(json.dumps({"image_size": 16, "rescale_timesteps": True}))
    refused("rescale_timesteps", interop.load, tmp_path / "a.pt")
    torch.save({"weight": torch.ones(1)}, tmp_path / "b.pt")
    (tmp_path / "b.json").write_text(json.dumps({"image_size": 16}))
    refused("not the names", interop.load, tmp_path / "b.pt")


class _Edm:
    """A module as EDM pickles it: a call of a function that would run the source beside it."""

    def __init__(self, module: nn.Module, marker: Path) -> None:
        self.module, self.marker = module, marker

    def __reduce__(self) -> Any:
        source = f"open({str(self.marker)!r}, 'w')"
        state = {key: v for key, v in vars(self.module).items() if key != "said"}
        state["_modules"] = {k: _Edm(m, self.marker) for k, m in self.module.named_children()}
        meta = {"type": "class", "version": 6, "module_src": source, "state": state,
                "class_name": type(self.module).__name__}  # fmt: skip
        return _reconstruct_persistent_obj, (meta,)


def _reconstruct_persistent_obj(meta: Any) -> None:
    """Only its name is wanted."""


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


def edm(folder: Path, module: nn.Module) -> Path:
    """A checkpoint in EDM's layout. The name of the function is written as it is there."""
    import sys
    import types

    there = types.ModuleType("torch_utils.persistence")
    vars(there)["_reconstruct_persistent_obj"] = _reconstruct_persistent_obj
    sys.modules["torch_utils"] = types.ModuleType("torch_utils")
    sys.modules["torch_utils.persistence"] = there
    try:
        marker = folder / "ran"
        content = pickle.dumps({"ema": _Edm(module, marker), "dataset_kwargs": {"path": "x"}}, 4)
    finally:
        del sys.modules["torch_utils"], sys.modules["torch_utils.persistence"]
    (folder / "edm.pkl").write_bytes(content)
    return folder / "edm.pkl"


def test_the_layout_of_edm_without_its_source(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.GroupNorm(2, 4), nn.Linear(4, 4)))
    file = edm(tmp_path, module)
    made = read_checkpoint(file)
    assert isinstance(made["ema"], Inert)
    assert made["ema"].kind == "Sequential"
    found, own = state_of(made["ema"]), module.state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)
    assert not (tmp_path / "ran").exists()
    refused("no averaged network", interop.load, file)


class Runs:
    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> Any:
        return self.call, self.args


def hostile(marker: str) -> dict[str, Any]:
    """What a pickle may ask for, each with a harmless mark that it would leave."""
    import os
    import shutil
    import subprocess

    return {
        "system": Runs(os.system, f"touch {marker}"),
        "open": Runs(open, marker, "w"),
        "eval": Runs(eval, f"open({marker!r}, 'w')"),
        "exec": Runs(exec, f"open({marker!r}, 'w')"),
        "import": Runs(__import__, "antigravity"),
        "popen": Runs(subprocess.Popen, ["touch", marker]),
        "getattr": Runs(getattr, "x", "join"),
        "copy": Runs(shutil.copy, "/dev/null", marker),
        "path": Path(marker),
        "function": Runs(print, "hello"),
        "load": Runs(torch.load, marker),
        "partial": __import__("functools").partial(open, marker, "w"),
        "inside": {"weight": [torch.ones(1), (Runs(os.mkdir, marker),)]},
        "namespace": Runs(type, "X", (), {}),
    }


@pytest.mark.parametrize("name", hostile(""))
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_of_a_pickle_is_run(name, protocol, tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "a.pt").write_bytes(pickle.dumps(hostile(str(marker))[name], protocol))
    refused("which is not run", interop.load, tmp_path / "a.pt")
    torch.save(hostile(str(marker))[name], tmp_path / "b.pt")
    refused("which is not run", interop.load, tmp_path / "b.pt")
    assert not marker.exists()


def test_a_planted_reader_that_runs_them(tmp_path):
    """The marks are real: what pickle itself does leaves them."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(hostile(str(marker))["open"]))
    assert marker.exists()


def cut(content: bytes, at: float) -> bytes:
    return content[: int(at * len(content))]


@pytest.mark.parametrize("at", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_cut_short(at, zipped, tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    (tmp_path / "a.pt").write_bytes(cut((tmp_path / "a.pt").read_bytes(), at))
    refused("", read_checkpoint, tmp_path / "a.pt")


def test_a_tensor_outside_its_storage(tmp_path):
    """A size that the storage has not: seen before a byte is read beyond it."""
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pt").read_bytes()
    assert content.count(b"K\x03\x85") == 1
    (tmp_path / "a.pt").write_bytes(content.replace(b"K\x03\x85", b"K\x63\x85"))
    refused("outside its storage", read_checkpoint, tmp_path / "a.pt")


def test_every_word_that_is_read_is_one_of_pickles():
    from scorefield.store import inert

    words = {*inert.CONSTANTS, *inert.VALUES, *inert.GATHERED, *inert.STEPS}
    assert words <= {op.name for op in pickletools.opcodes}
