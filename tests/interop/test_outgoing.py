"""Our runs in their pipelines: plain weights of their networks, a component of any other."""

import json
from pathlib import Path

import torch

from scorefield.base import Zero
from scorefield.catalogue.spec import build
from scorefield.interop.export import exported
from scorefield.interop.incoming import taken_in
from scorefield.run.open import open_run
from scorefield.solve import trajectory
from scorefield.use.request import Request
from tests.interop.foreign import keep, network, scheduler, theirs
from tests.refusal import refused


def sent(path: Path, out: Path, **said) -> dict:
    return dict(exported(Request(path, out=out, **said), "diffusers").record)


@torch.no_grad()
def test_plain_weights_load_without_code_of_ours(runs, tmp_path):
    found = sent(runs["vp"], tmp_path / "out", label="3")
    index = json.loads((tmp_path / "out/model_index.json").read_text())
    assert {entry[0] for key, entry in index.items() if key[0] != "_"} == {"diffusers"}
    assert found["pipeline"] == "DDPMPipeline"
    pipe = theirs().DDIMPipeline.from_pretrained(tmp_path / "out")
    pipe.set_progress_bar_config(disable=True)
    assert theirs().DDPMPipeline.from_pretrained(tmp_path / "out").unet.num_parameters() > 0
    run = open_run(runs["vp"])
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    images = pipe(
        batch_size=2, generator=generator, num_inference_steps=20, output_type="np"
    ).images
    levels = build("grids", "timesteps:trailing", schedule=run.schedule, steps=20)
    label = {"label": torch.tensor([3, 3])}
    steps = trajectory(build("solvers", "ddim"), run.denoiser, x, levels, Zero(), label)
    *_, (state, _) = steps
    mine = (state.x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert abs(mine - images).max() < 1e-5


@torch.no_grad()
def test_the_whole_network_goes_and_comes_back(runs, tmp_path):
    for name in ("vp", "flow", "edm"):
        sent(runs[name], tmp_path / name)
        taken_in(tmp_path / name, tmp_path / f"{name}-back", "digits")
        run, back = open_run(runs[name]), open_run(tmp_path / f"{name}-back")
        level = run.schedule(torch.tensor(0.37, dtype=torch.float64))
        x, label = torch.randn(3, 1, 8, 8), torch.tensor([1, 4, 9])
        for cond in ({"label": label}, None):
            here = run.denoiser(x, level, cond)
            assert torch.allclose(back.denoiser(x, level, cond), here, atol=2e-6)


def test_a_run_that_came_goes_as_it_came(tmp_path):
    """Unknown keys and the dtype are in what is written back."""
    folder = keep(
        tmp_path / "a", network().to(torch.bfloat16), scheduler("DDIM", clip_sample=False)
    )
    file = folder / "unet/config.json"
    said = {**json.loads(file.read_text()), "of_the_future": "yes"}
    file.write_text(json.dumps(said))
    taken_in(folder, tmp_path / "run")
    sent(tmp_path / "run", tmp_path / "b")
    assert json.loads((tmp_path / "b/unet/config.json").read_text()) == said
    for part in ("unet/config.json", "scheduler/scheduler_config.json"):
        old, new = (json.loads((tmp_path / at / part).read_text()) for at in "ab")
        assert old == new
    load = theirs("safetensors.torch").load_file
    one, other = (load(tmp_path / at / "unet/diffusion_pytorch_model.safetensors") for at in "ab")
    assert {k: (v.dtype, v.tolist()) for k, v in one.items()} == {
        k: (v.dtype, v.tolist()) for k, v in other.items()
    }


@torch.no_grad()
def test_any_other_run_is_a_component(runs, tmp_path):
    found = sent(runs["ours"], tmp_path / "out")
    assert not found["native"]
    pipe = theirs().DDIMPipeline.from_pretrained(tmp_path / "out")
    pipe.set_progress_bar_config(disable=True)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    images = pipe(
        batch_size=2, generator=generator, num_inference_steps=20, output_type="np"
    ).images
    from scorefield.interop.component import CHAIN

    run = open_run(runs["ours"])
    levels = build("grids", "timesteps:trailing", schedule=CHAIN, steps=20)
    *_, (state, _) = trajectory(build("solvers", "ddim"), run.denoiser, x, levels, Zero())
    mine = (state.x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert abs(mine - images).max() < 1e-5
    t, label = torch.tensor([0, 500, 999]), torch.tensor([1, 2, 3])
    x = torch.randn(3, 1, 8, 8)
    v = pipe.unet(x, t, class_labels=label).sample
    alpha, sigma = CHAIN((t + 1) / 1000).like(x)
    own = run.denoiser(x, CHAIN((t + 1) / 1000), {"label": label})
    assert (alpha * x - sigma * v - own).abs().max() < 1e-6


def test_what_cannot_leave(runs, tmp_path):
    refused("only a UNet2DModel", sent, runs["flow"], tmp_path / "a", label="3")
    refused("does nothing", exported, Request(runs["vp"], out=tmp_path / "a"), "diffusers", 4)
    assert not (tmp_path / "a").exists()
