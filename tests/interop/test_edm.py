"""Networks of EDM: equal to the original program's figures, from files in its layout."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scorefield import interop
from scorefield.base import Level
from scorefield.denoise.guest import FILED
from tests.cli.conftest import cli  # noqa: F401 a fixture
from tests.interop.test_checkpoints import edm
from tests.refusal import refused

SONG = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 16,
        "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}  # fmt: skip
SMALL = {"img_resolution": 8, "img_channels": 3, "model_channels": 16, "channel_mult": [1, 2],
         "num_blocks": 1, "attn_resolutions": [4], "channels_per_head": 8}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpm++": ("SongUNet", {**SONG, "label_dim": 5, "label_dropout": 0.1}),
    "ncsn++": ("SongUNet", {**SONG, "embedding_type": "fourier", "channel_mult_noise": 2,
                            "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]}),
    "skip": ("SongUNet", {**SONG, "encoder_type": "skip", "decoder_type": "skip",
                          "resample_filter": [1, 3, 3, 1]}),
    "adm": ("DhariwalUNet", {**SONG, "model_channels": 64, "label_dim": 5}),
    "edm2": ("UNet", {**SMALL, "label_dim": 5}),
    "edm2 else": ("UNet", {**SMALL, "label_dim": 0, "resample_filter": [1, 3, 3, 1],
                           "channel_mult_noise": 2, "channel_mult_emb": 3, "concat_balance": 0.3,
                           "res_balance": 0.4}),
}  # fmt: skip
THEIRS = {
    "ddpm++": (3.68818, -6.35278, 5.79906),
    "ncsn++": (3.70069, -7.15906, 5.26284),
    "skip": (3.30871, 1.14559, -5.54866),
    "adm": (7.77546, -7.90446, -8.46884),
    "edm2": (312.09525, 444.95398, -27.17808),
    "edm2 else": (463.05649, 159.02174, -279.71753),
}
"""Of the original programs (NVlabs/edm, edm2) with the weights and inputs below, run beside ours:
mean size of the output, and its first and last number."""


@torch.no_grad()
def waves(net: Any) -> Any:
    """The same weights in any program: waves along the numbers of each, by its place by name."""
    for k, (name, tensor) in enumerate(sorted(net.state_dict().items())):
        wave = torch.sin(0.7 * torch.arange(tensor.numel()) + k).view(tensor.shape)
        if "resample_filter" not in name and "kernel" not in name:
            tensor.copy_(0.2 * wave + (tensor.ndim <= 1))
    return net.eval()


def inputs(label_dim: int) -> tuple[Any, ...]:
    x = torch.sin(torch.arange(2 * 3 * 64) * 1.3).view(2, 3, 8, 8)
    label = torch.eye(5)[[0, 3]] if label_dim else None
    return x, torch.tensor([0.3, -1.0]), label


@torch.no_grad()
def figures(net: Any) -> tuple[float, float, float]:
    x, told, label = (given if given is None else given.double() for given in inputs(net.classes))
    out = copy.deepcopy(net).double()(x, told, label)  # else rounding is the processor's
    return float(out.abs().mean()), float(out.flatten()[0]), float(out.flatten()[-1])


@pytest.mark.parametrize("case", CASES)
def test_the_networks_are_the_original_programs(case):
    kind, said = CASES[case]
    found = figures(waves(FILED[kind](kind, said)))
    assert found == pytest.approx(THEIRS[case], rel=3e-5, abs=2e-5)


@pytest.mark.parametrize(
    "case, wrong",
    [
        ("ddpm++", {"resample_filter": [1, 3, 3, 1]}),
        ("ncsn++", {"resample_filter": [1, 1]}),
        ("adm", {"attn_resolutions": [8, 4]}),
        ("edm2", {"label_balance": 0.4}),
        ("edm2", {"clip_act": 1e5}),
        ("edm2 else", {"resample_filter": [1, 1]}),
        ("edm2 else", {"concat_balance": 0.5}),
    ],
)
def test_a_planted_network(case, wrong):
    kind, said = CASES[case]
    assert figures(waves(FILED[kind](kind, {**said, **wrong}))) != pytest.approx(THEIRS[case], 1e-4)


def named(kind: str, module: nn.Module, **attributes: Any) -> nn.Module:
    """The module under the name of a class as a file has it, with attributes of its own."""
    found = type(kind, (nn.Module,), {})()
    found.__dict__.update({**vars(module), **attributes})
    return found


def checkpoint(folder: Path, outer: str, case: str, **about: Any) -> tuple[Path, Any]:
    """A file in EDM's layout, and the network that it holds."""
    kind, said = CASES[case]
    net = waves(FILED[kind](kind, said))
    held = named(
        kind, net, said=None, _init_args=(), _init_kwargs={**said, **about.pop("more", {})}
    )
    if kind != "UNet":
        held.map_augment = nn.Linear(9, 4, bias=False)
    whole = nn.Module()
    setattr(whole, "unet" if kind == "UNet" else "model", held)
    return edm(folder, named(outer, whole, **about)), net


EDM, VP, VE = (outer + "Precond" for outer in ("EDM", "VP", "VE"))
SIGMA = 0.7
TOLD = {
    EDM: (math.log(SIGMA) / 4, 1 / math.hypot(SIGMA, 0.5)),
    VP: (
        999 * (math.sqrt(0.01 + 39.8 * math.log1p(SIGMA**2)) - 0.1) / 19.9,
        1 / math.hypot(SIGMA, 1),
    ),
    VE: (math.log(SIGMA / 2), 1.0),
}
"""c_noise and c_in at that level (Karras et al. 2022, table 1)."""
SKIP = {EDM: (0.25 / (SIGMA**2 + 0.25), SIGMA * 0.5 / math.hypot(SIGMA, 0.5)), VP: (1.0, -SIGMA),
        VE: (1.0, SIGMA)}  # fmt: skip


@pytest.mark.parametrize("outer", TOLD)
@torch.no_grad()
def test_a_file_is_its_denoiser(outer, tmp_path):
    file, net = checkpoint(tmp_path, outer, "ddpm++", sigma_min=0.0, sigma_max=math.inf)
    with pytest.warns(UserWarning, match="map_augment"):
        denoiser = interop.load(file)
    x, _, one = inputs(5)
    (told, c_in), (c_skip, c_out) = TOLD[outer], SKIP[outer]
    truth = c_skip * x + c_out * net(c_in * x, torch.full((2,), told), one)
    own = denoiser(x, Level.of(1.0, SIGMA), {"label": torch.tensor([0, 3])})
    assert torch.allclose(own, truth, atol=1e-4)
    half = denoiser(0.5 * x, Level.of(0.5, 0.5 * SIGMA), {"label": torch.tensor([0, 3])})
    assert torch.allclose(half, truth, atol=1e-4)  # a level up to a common factor
    none = c_skip * x + c_out * net(c_in * x, torch.full((2,), told), 0 * one)
    assert torch.allclose(denoiser(x, Level.of(1.0, SIGMA)), none, atol=1e-4)


@torch.no_grad()
def test_a_file_of_edm2_is_its_denoiser(tmp_path):
    file, net = checkpoint(tmp_path, "Precond", "edm2", sigma_data=0.5)
    denoiser = interop.load(file)
    x, _, one = inputs(5)
    (told, c_in), (c_skip, c_out) = TOLD[EDM], SKIP[EDM]
    truth = c_skip * x + c_out * net(c_in * x, torch.full((2,), told), one)
    own = denoiser(x, Level.of(1.0, SIGMA), {"label": torch.tensor([0, 3])})
    assert float((own - truth).abs().max()) < 1e-5 * float(truth.abs().max())
    refused("does not know what none is", denoiser, x, Level.of(1.0, SIGMA))


def test_a_run_of_it_is_sampled(tmp_path, cli):  # noqa: F811
    file, _ = checkpoint(tmp_path, EDM, "adm", sigma_data=0.5)
    code, out, err = cli("import", file, "--out", tmp_path / "run", "--json")
    assert code == 0, err
    assert json.loads(out)["plan"] == "heun@karras:rho=7"
    words = "--n", "2", "--steps", "3", "--labels", "0,3", "--solver", "heun", "--grid", "karras"
    assert cli("sample", tmp_path / "run", *words, "--out", tmp_path / "a.png").code == 0
    said = cli(
        "sample", tmp_path / "run", "--n", "1", "--unconditional", "--out", tmp_path / "b.png"
    )
    assert said.code == 2
    assert "does not know what none is" in said.err


@pytest.mark.parametrize(
    "outer, about, says",
    [
        ("iDDPMPrecond", {}, "holds a iDDPMPrecond"),
        (EDM, {"sigma_data": -1.0}, "sigma_data -1.0"),
        (EDM, {"more": {"channel_mult": "1-2"}}, "channel_mult '1-2'"),
        (EDM, {"more": {"encoder_type": "odd"}}, "encoder_type 'odd'"),
        (EDM, {"more": {"num_heads": 3}}, "num_heads 3"),
        (EDM, {"more": {"num_blocks": 2}}, "lacks the weights"),
        (EDM, {"more": {"img_resolution": None}}, "of side None"),
    ],
)
def test_what_cannot_be_honoured_is_named(outer, about, says, tmp_path):
    file, _ = checkpoint(tmp_path, outer, "ncsn++", **about)
    refused(re.escape(says), interop.load, file)
