"""A folder of diffusers is a denoiser: our steps are those of their own pipelines."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from scorefield import interop
from scorefield.base import Level, Zero
from scorefield.catalogue.plans import plan
from scorefield.catalogue.spec import build
from scorefield.guide import cfg
from scorefield.interop.export import exported
from scorefield.interop.incoming import taken_in
from scorefield.interop.plans import their_plan
from scorefield.run.open import open_run
from scorefield.solve import trajectory
from scorefield.use.request import Request
from tests.interop.foreign import keep, network, scheduler
from tests.interop.foreign import theirs as theirs_of
from tests.refusal import refused

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
ZERO = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("DDIM", {}, 10),
    ("DDIM", {}, 7),
    ("DDIM", {"timestep_spacing": "trailing"}, 10),
    ("DDIM", {**SD, "steps_offset": 1, "set_alpha_to_one": False}, 10),
    ("DDIM", {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}, 10),
    ("DDIM", {"prediction_type": "sample"}, 10),
    ("DDIM", {**ZERO, "timestep_spacing": "trailing"}, 10),
    ("DDIM", {**ZERO, **SD, "timestep_spacing": "trailing"}, 10),
    ("DDIM", {"trained_betas": [0.01 * k for k in range(1, 51)], "num_train_timesteps": 50}, 5),
    ("DDPM", {"beta_schedule": "sigmoid"}, 20),
    ("DDPM", {"beta_schedule": "laplace"}, 20),
    ("DDPM", {"variance_type": "fixed_large"}, 20),
    ("EulerDiscrete", {}, 10),
    ("EulerDiscrete", {"timestep_spacing": "leading"}, 7),
    ("EulerDiscrete", {"timestep_spacing": "trailing"}, 7),
    ("EulerDiscrete", {"use_karras_sigmas": True}, 10),
    ("EulerDiscrete", {"use_exponential_sigmas": True}, 10),
    ("EulerDiscrete", {"prediction_type": "v_prediction"}, 10),
    ("FlowMatchEulerDiscrete", {}, 10),
    ("FlowMatchEulerDiscrete", {"shift": 3.0}, 10),
    ("EDMEuler", {}, 10),
    ("EDMEuler", {"sigma_schedule": "exponential"}, 10),
    ("EDMEuler", {"prediction_type": "v_prediction"}, 10),
]  # fmt: skip


class Drawn:
    """The draws that their sampler makes, one a step."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor, here: Level, there: Level) -> Tensor:
        return torch.randn(x.shape, generator=self.generator)


def apart(denoiser: Any, net: Any, theirs: Any, steps: int, grid: str = "") -> float:
    """The largest difference over the steps, as a part of the largest number."""
    settings = dict(theirs.config) | {"_class_name": type(theirs).__name__}
    said = plan(str(their_plan(settings)))
    solver = build("solvers", said.solver)
    levels = build("grids", grid or said.grid, schedule=denoiser.schedule, steps=steps)
    x = torch.randn(2, *denoiser.shape, generator=torch.Generator().manual_seed(1))
    name, generator = type(theirs).__name__, torch.Generator().manual_seed(5)
    ve = name.startswith("Euler")
    scale = float(theirs.sigmas[0]) if ve or name.startswith("EDM") else 1.0
    mine, worst = scale * x * (float(levels.alpha[0]) if ve else 1.0), 0.0
    noise = Drawn(5) if name.startswith("DDPM") else Zero()
    own = [state.x for state, _ in trajectory(solver, denoiser, mine, levels, noise)]
    given, x = {"generator": generator} if name.startswith("DDPM") else {}, scale * x
    for k, t in enumerate(theirs.timesteps):
        seen = theirs.scale_model_input(x, t) if hasattr(theirs, "scale_model_input") else x
        x = theirs.step(net(seen, t.expand(2)).sample, t, x, **given).prev_sample
        ours = own[k] / (levels.alpha[k + 1] if ve else 1.0)
        worst = max(worst, float((ours - x).abs().max() / x.abs().max()))
    return worst


@pytest.mark.parametrize("kind, more, steps", CASES)
@torch.no_grad()
def test_our_steps_are_those_of_their_scheduler(kind, more, steps, tmp_path):
    net, theirs = network(), scheduler(kind, **more)
    denoiser = interop.load(keep(tmp_path, net, theirs))
    theirs.set_timesteps(steps)
    assert apart(denoiser, net, theirs, steps) < 1e-5


@torch.no_grad()
def test_dynamic_shift(tmp_path):
    net = network()
    theirs = scheduler("FlowMatchEulerDiscrete", use_dynamic_shifting=True)
    denoiser = interop.load(keep(tmp_path, net, theirs))
    theirs.set_timesteps(10, mu=1.15)
    grid = f"shifted:shift={torch.tensor(1.15).exp().item():.9g},last=.001"
    assert apart(denoiser, net, theirs, 10, grid) < 1e-5


@torch.no_grad()
def test_a_planted_grid_that_lands_elsewhere(tmp_path):
    net, theirs = network(), scheduler("DDIM", timestep_spacing="linspace")
    denoiser = interop.load(keep(tmp_path, net, theirs))
    theirs.set_timesteps(10)
    assert apart(denoiser, net, theirs, 10) > 0.1  # theirs steps to 899 and goes on at 888


@torch.no_grad()
def test_learned_variance_and_classes(tmp_path):
    diffusers = theirs_of()
    net, theirs = network("DiTTransformer2DModel"), scheduler("DDIM")
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    denoiser = interop.load(keep(tmp_path, net, theirs, vae=vae))
    assert denoiser.classes == tuple(map(str, range(10)))
    x, label = torch.randn(3, 4, 8, 8), torch.tensor([1, 5, 9])
    level = denoiser.schedule(torch.tensor(0.5))
    out = net(x.float(), torch.full((3,), 499), label).sample
    eps, none = out[:, :4], net(x, torch.full((3,), 499), torch.full((3,), 10)).sample[:, :4]
    a, s = level.like(x)
    guided = cfg(3.0)(denoiser)(x, level, {"label": label})
    assert torch.allclose(guided, (x - s * (none + 3 * (eps - none))) / a, atol=2e-5)
    assert denoiser.moments(x, level, {"label": label})[1].shape == x.shape


@torch.no_grad()
def test_text_of_clip(tmp_path):
    """StableDiffusionPipeline: ids through CLIP, an empty prompt, guidance."""
    diffusers, transformers = theirs_of(), theirs_of("transformers")
    sizes = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 16, "bos_token_id": 58,
             "num_attention_heads": 2, "num_hidden_layers": 2, "max_position_embeddings": 8,
             "eos_token_id": 59, "pad_token_id": 59}  # fmt: skip
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes)).eval()
    net = network("UNet2DConditionModel")
    theirs = scheduler("DDIM", **SD, steps_offset=1, set_alpha_to_one=False)
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    denoiser = interop.load(keep(tmp_path, net, theirs, text_encoder=text, vae=vae))
    ids = torch.tensor([[58, 3, 7, 59, 59, 59, 59, 59]])
    empty = torch.tensor([[58, *[59] * 7]])
    pipe = diffusers.StableDiffusionPipeline(
        vae, text, None, net, theirs, None, None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    x = torch.randn(1, 4, 8, 8)
    latents = pipe(
        prompt_embeds=text(ids)[0], negative_prompt_embeds=text(empty)[0], latents=x.clone(),
        guidance_scale=5.0, num_inference_steps=10, output_type="latent",
    ).images  # fmt: skip
    levels = build("grids", "timesteps:strided,offset=1,clean=no", schedule=denoiser.schedule,
                   steps=10)  # fmt: skip
    steps = trajectory(build("solvers", "ddim"), cfg(5.0)(denoiser), x, levels, Zero(),
                       {"tokens": ids})  # fmt: skip
    mine = [state.x for state, _ in steps][-1]
    assert (mine - latents).abs().max() < 1e-5 * latents.abs().max()


@torch.no_grad()
def test_the_decoder_is_the_codec(tmp_path):
    """A run on latents makes pictures: theirs of the same latents."""
    diffusers = theirs_of()
    sizes = {"block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 4,
             "down_block_types": ("DownEncoderBlock2D",) * 2, "scaling_factor": 0.5,
             "up_block_types": ("UpDecoderBlock2D",) * 2, "shift_factor": 0.1}  # fmt: skip
    vae, net = diffusers.AutoencoderKL(**sizes), network("DiTTransformer2DModel")
    taken_in(keep(tmp_path / "a", net, scheduler("DDIM"), vae=vae), tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert (run.info.shape, run.info.inner) == ((3, 16, 16), (4, 8, 8))
    z = torch.randn(2, 4, 8, 8)
    codec = run.denoiser.codec
    assert codec
    assert torch.allclose(codec.decode(z), vae.decode(z / 0.5 + 0.1).sample, atol=1e-5)
    x = torch.rand(2, 3, 16, 16)
    mean = vae.encode(x).latent_dist.mean
    assert torch.allclose(codec.encode(x), 0.5 * (mean - 0.1), atol=1e-5)
    exported(Request(tmp_path / "run", out=tmp_path / "b"), "diffusers")
    taken_in(tmp_path / "b", tmp_path / "again")
    again = open_run(tmp_path / "again").denoiser.codec
    assert again
    assert torch.equal(again.decode(z), codec.decode(z))
    broken = tmp_path / "a/vae/config.json"
    said = json.loads(broken.read_text())
    broken.write_text(json.dumps({**said, "act_fn": "gelu"}))
    refused("the vae has act_fn", taken_in, tmp_path / "a", tmp_path / "other")


@pytest.mark.parametrize("kind", ["SD3Transformer2DModel", "FluxTransformer2DModel"])
@torch.no_grad()
def test_transformers_of_flow(kind, tmp_path):
    net, theirs = network(kind), scheduler("FlowMatchEulerDiscrete", shift=3.0)
    folder = keep(tmp_path, net, theirs)
    if kind.startswith("Flux"):
        said = json.loads((folder / "transformer/config.json").read_text())
        (folder / "transformer/config.json").write_text(json.dumps({**said, "sample_size": 8}))
    denoiser = interop.load(folder)
    x, tokens, vector = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 16), torch.randn(2, 12)
    level = Level.of(0.4, 0.6)
    if kind.startswith("SD3"):
        v = net(x, tokens, vector, torch.full((2,), 600.0)).sample
    else:
        pipe = theirs_of().FluxPipeline
        packed = pipe._pack_latents(x, 2, 4, 8, 8)
        place = pipe._prepare_latent_image_ids(2, 4, 4, "cpu", torch.float32)
        v = net(packed, encoder_hidden_states=tokens, pooled_projections=vector, img_ids=place,
                timestep=torch.full((2,), 0.6), txt_ids=torch.zeros(5, 3)).sample  # fmt: skip
        v = pipe._unpack_latents(v, 8, 8, 1)
    own = denoiser(x, level, {"tokens": tokens, "vector": vector})
    assert torch.allclose(own, x - 0.6 * v, atol=1e-5)
    refused("does not know what none is", denoiser, x, level, None)


@torch.no_grad()
def test_a_consistency_model(tmp_path):
    net, theirs = network(), scheduler("CMStochasticIterative", clip_denoised=False)
    denoiser = interop.load(keep(tmp_path, net, theirs))
    theirs.set_timesteps(1)
    x = 80 * torch.randn(2, 1, 8, 8)
    seen = theirs.scale_model_input(x, theirs.timesteps[0])
    out = net(seen, theirs.timesteps[0].expand(2)).sample
    end = theirs.step(out, theirs.timesteps[0], x).prev_sample
    assert torch.allclose(denoiser(x, Level.of(1.0, 80.0)), end, atol=1e-5)
    assert denoiser.manner.learned == "ends"
    least = denoiser(x, Level.of(1.0, 0.002))
    assert torch.allclose(least, x)  # the boundary


def test_a_run_of_it(tmp_path):
    """dtype, unknown keys and warnings are kept; the run opens and is the same denoiser."""
    from scorefield.use.generate import generate

    folder = keep(tmp_path / "a", network().to(torch.bfloat16), scheduler("DDIM"))
    file = folder / "scheduler/scheduler_config.json"
    said = {**json.loads(file.read_text()), "of_the_future": [1], "clip_sample": True}
    file.write_text(json.dumps(said))
    with pytest.warns(UserWarning, match="clip_sample is true"):
        found = taken_in(folder, tmp_path / "run", "digits")
    assert (found.record["dtype"], found.record["plan"]) == ("bfloat16", "ddim@timesteps:strided")
    run = open_run(tmp_path / "run")
    assert run.config.source
    assert run.config.source.scheduler == said
    assert run.denoiser.net.model.dtype == torch.bfloat16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = interop.load(folder)
    assert generate(run.denoiser, 2, steps=3).dtype == torch.float32
    x, level = torch.randn(2, 1, 8, 8), Level.of(0.6, 0.8)
    assert torch.equal(there(x, level), run.denoiser(x, level))
    refused("already holds a run", taken_in, folder, tmp_path / "run")


def test_weights_of_16_bits_are_no_reason_to_walk_in_16_bits():
    from scorefield.draw.draw import _like

    assert _like(torch.nn.Linear(1, 1).bfloat16(), None).dtype == torch.float32
    assert _like(torch.nn.Linear(1, 1).double(), None).dtype == torch.float64


def test_shards(tmp_path):
    net = network()
    folder = keep(tmp_path, net, scheduler("DDIM"))
    (Path(folder) / "unet/diffusion_pytorch_model.safetensors").unlink()
    net.save_pretrained(folder / "unet", max_shard_size="60KB")
    assert len(list((folder / "unet").glob("*-of-*"))) > 1
    x, level = torch.randn(1, 1, 8, 8), Level.of(0.6, 0.8)
    assert interop.load(folder)(x, level).shape == x.shape
