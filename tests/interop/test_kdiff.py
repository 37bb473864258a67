"""Networks of k-diffusion's configs: equal to the original programs' figures, from their files."""

import collections
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from scorefield import interop
from scorefield.base import Level
from scorefield.denoise.guest import FILED
from scorefield.nets.kformer import seen_tokens
from tests.cli.conftest import cli  # noqa: F401 a fixture
from tests.interop.test_edm import figures, waves
from tests.refusal import refused

SIZES = {"input_channels": 3, "input_size": [8, 8]}
V1, V2 = "image_transformer_v1", "image_transformer_v2"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "image_v1": ("image_v1", {"mapping_out": 16, "depths": [2, 1], "channels": [32, 64],
                              "self_attn_depths": [False, True]}),
    "image_v1 else": ("image_v1", {
        "patch_size": 2, "mapping_out": 16, "depths": [1, 2, 1], "channels": [32, 64, 128],
        "self_attn_depths": [False, True, False], "has_variance": True, "augment_wrapper": False,
        "skip_stages": 1}),
    "transformer_v1": (V1, {"patch_size": [2, 2], "width": 128, "depth": 1, "num_classes": 5}),
    "transformer_v2": (V2, {
        "patch_size": [1, 1], "widths": [32, 64], "depths": [2, 1], "self_attns": [
            {"type": "shifted-window", "d_head": 16, "window_size": 4},
            {"type": "global", "d_head": 32}], "mapping_width": 16, "num_classes": 5}),
    "transformer_v2 else": (V2, {
        "patch_size": [2, 2], "widths": [32, 48, 64], "depths": [1, 1, 2], "self_attns": [
            {"type": "none"}, {"type": "global", "d_head": 24}, {"type": "global", "d_head": 64}],
        "mapping_width": 16, "mapping_depth": 1, "d_ffs": [40, 50, 60]}),
}  # fmt: skip
THEIRS = {
    "image_v1": (13.41831, -19.05342, -18.33212),
    "image_v1 else": (10.11768, 15.38639, 14.84436),
    "transformer_v1": (0.1211306, -0.04142537, 0.2150366),
    "transformer_v2": (0.4621713, 0.5511885, -0.5290166),
    "transformer_v2 else": (0.1016245, -0.06252869, -0.08283228),
}
"""Of k-diffusion 0.1.1.post1 (v2: its repository at 4601bf0) with the weights and inputs of
test_edm, run beside ours: mean size of the output, and its first and last number."""


def made(case: str, **more: Any) -> Any:
    kind, said = CASES[case]
    return waves(FILED[kind](kind, {**SIZES, **said, **more}))


@pytest.mark.parametrize("case", CASES)
def test_the_networks_are_the_original_programs(case):
    assert figures(made(case)) == pytest.approx(THEIRS[case], rel=3e-5, abs=1e-5)


@pytest.mark.parametrize(
    "case, wrong",
    [
        ("image_v1", {"self_attn_depths": [False, False]}),
        ("image_v1 else", {"self_attn_depths": [True, True, False]}),
        ("transformer_v1", {"d_ff": 128}),
        ("transformer_v2", {"self_attns": [{"type": "global", "d_head": 16}, {"type": "none"}]}),
        ("transformer_v2", {"self_attns": [
            {"type": "shifted-window", "d_head": 16, "window_size": 2},
            {"type": "global", "d_head": 32}]}),
    ],
)  # fmt: skip
def test_a_planted_network(case, wrong):
    assert figures(made(case, **wrong)) != pytest.approx(THEIRS[case], 1e-3)


@pytest.mark.parametrize("size, sides", [(3, (4, 5)), (5, (5, 6))])
def test_a_neighbourhood_lies_within(size, sides):
    """Each token sees `size` x `size` others, as near to it as the picture lets them be."""
    mask = seen_tokens("neighborhood", size, 0, *sides)
    assert mask is not None
    assert set(mask.sum(1).tolist()) == {size**2}
    for q in range(len(mask)):
        for axis, n in enumerate(sides):
            at = q // sides[1] if axis == 0 else q % sides[1]
            keys = mask[q].nonzero().flatten()
            own = keys // sides[1] if axis == 0 else keys % sides[1]
            begin = min(max(at - size // 2, 0), n - size)
            assert set(own.tolist()) == set(range(begin, begin + size))


def config(case: str, **model: Any) -> dict[str, Any]:
    kind, said = CASES[case]
    said = dict(said)
    data = {"type": "x", "location": "y", "num_classes": said.pop("num_classes", 0)}
    own = {"type": kind, **SIZES, **said, "sigma_data": 0.6, "sigma_min": 0.01, "sigma_max": 80.0,
           "sigma_sample_density": {"type": "cosine-interpolated"}}  # fmt: skip
    return {"model": {**own, **model}, "dataset": data, "optimizer": {"lr": 1e-4}, "of_mine": [1]}


def weights_of(case: str) -> Any:
    """As a state_dict is pickled, and as the wrapper for augmentation names them."""
    net = made(case)
    head = "inner_model." if case == "image_v1" else ""
    found = collections.OrderedDict((f"{head}{k}", v) for k, v in net.state_dict().items())
    found._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    return found


def file_of(folder: Path, case: str, layout: str, **model: Any) -> Path:
    weights, said, file = weights_of(case), config(case, **model), folder / f"k.{layout[:11]}"
    if layout == "pth":  # a training's
        parts = {"config": said, "model": weights, "model_ema": weights, "opt": {"state": {}}}
        more = {"gns_stats": None, "demo_gen": torch.Generator().get_state()}
        torch.save({**parts, **more}, file)
    elif layout == "safetensors":  # for inference
        save_file(dict(weights), file, {"config": json.dumps(said, indent=4)})
    else:
        save_file(dict(weights), file)
        file.with_suffix(".json").write_text(json.dumps(said))
    return file


@pytest.mark.parametrize("layout", ["pth", "safetensors", "safetensors, config beside"])
@pytest.mark.parametrize("case", ["image_v1", "transformer_v2"])
@torch.no_grad()
def test_a_file_is_its_denoiser(case, layout, tmp_path):
    denoiser, net, s = interop.load(file_of(tmp_path, case, layout)), made(case), 0.6
    x = torch.sin(torch.arange(2 * 3 * 64) * 1.3).view(2, 3, 8, 8)
    one = torch.eye(5)[[0, 3]] if net.classes else None
    told = torch.full((2,), math.log(0.7) / 4)
    size = math.hypot(0.7, s)
    truth = (s / size) ** 2 * x + 0.7 * s / size * net(x / size, told, one)
    cond = {"label": torch.tensor([0, 3])} if net.classes else None
    own = denoiser(x, Level.of(1.0, 0.7), cond)
    assert torch.allclose(own, truth, atol=1e-5, rtol=1e-5)
    if one is not None:  # the last class is none
        null = denoiser(x, Level.of(1.0, 0.7), None)
        bare = net(x / size, told, 0 * one)
        assert torch.allclose(null, (s / size) ** 2 * x + 0.7 * s / size * bare, atol=1e-5)
        assert (null - own).abs().max() > 1e-3


def test_a_run_of_it(tmp_path, cli):  # noqa: F811
    file = file_of(tmp_path, "transformer_v1", "safetensors")
    code, out, err = cli("import", file, "--out", tmp_path / "run", "--json")
    assert code == 0, err
    assert json.loads(out)["plan"] == "ddim@karras:rho=7"
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert kept["config"]["source"]["others"]["config"]["of_mine"] == [1]
    words = "--n", "2", "--steps", "3", "--labels", "0,3", "--guidance", "2"
    assert cli("sample", tmp_path / "run", *words, "--out", tmp_path / "a.png").code == 0


@pytest.mark.parametrize(
    "case, model, says",
    [
        ("image_v1", {"type": "image_v3"}, "unknown network 'image_v3'"),
        ("image_v1", {"cross_cond_dim": 4}, "cross_cond_dim 4"),
        ("image_v1", {"loss_config": "odd"}, "unknown loss_config 'odd'"),
        ("image_v1", {"depths": [2]}, "1 depths, 2 channels"),
        ("image_v1", {"depths": "2-1"}, "depths '2-1'"),
        ("image_v1", {"mapping_out": -16}, "mapping_out -16"),
        ("image_v1", {"mapping_out": 10**12}, "mapping_out 1000000000000"),
        ("image_v1", {"channels": [32, 99968]}, "describes a network of"),
        ("image_v1", {"input_size": 8}, "input_size 8"),
        ("image_v1", {"sigma_data": "half"}, "sigma_data 'half'"),
        ("image_v1", {"self_attn_depths": [True, True]}, "lacks the weights"),
        ("transformer_v1", {"patch_size": [2, 1]}, "patch_size"),
        ("transformer_v2", {"self_attns": [{"type": "odd"}, {"type": "none"}]}, "type 'odd'"),
        ("transformer_v2", {"self_attns": [{"type": "global"}, {"type": "none"}]}, "self_attns"),
        ("transformer_v2", {"depths": None}, "depths None"),
    ],
)
def test_what_cannot_be_honoured_is_named(case, model, says, tmp_path):
    refused(re.escape(says), interop.load, file_of(tmp_path, case, "pth", **model))


def test_weights_without_their_config(tmp_path):
    save_file(dict(weights_of("image_v1")), tmp_path / "k.safetensors", {"config": "{"})
    refused("is no JSON", interop.load, tmp_path / "k.safetensors")
    save_file(dict(weights_of("image_v1")), tmp_path / "k.safetensors")
    refused("no config that says its network", interop.load, tmp_path / "k.safetensors")
    (tmp_path / "k.safetensors").write_bytes(b"\x08" + bytes(20))
    refused("k.safetensors", interop.load, tmp_path / "k.safetensors")
