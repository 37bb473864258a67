"""Folders with text encoders are sampled from prompts: ours from a text are their pipelines'."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scorefield.base import Zero
from scorefield.catalogue.plans import plan
from scorefield.catalogue.spec import build
from scorefield.data.readers.pipeline import PipelineText
from scorefield.guide import prompts
from scorefield.interop.export import exported
from scorefield.interop.incoming import taken_in
from scorefield.run.open import Run, open_run
from scorefield.solve import trajectory
from scorefield.use.request import Request
from tests.cli.conftest import cli  # noqa: F401
from tests.interop.foreign import keep, network, scheduler
from tests.interop.foreign import theirs as theirs_of
from tests.refusal import refused

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIZES = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 54,
         "num_hidden_layers": 2, "max_position_embeddings": 8, "bos_token_id": 52,
         "eos_token_id": 53, "pad_token_id": 53}  # fmt: skip
PIPES = {
    "UNet2DConditionModel": "StableDiffusionPipeline",
    "SD3Transformer2DModel": "StableDiffusion3Pipeline",
    "FluxTransformer2DModel": "FluxPipeline",
}


def clip(seed: int, projection: int | None = None, **more: Any) -> dict[str, Any]:
    """An encoder of CLIP and its tokenizer, of letters."""
    transformers = theirs_of("transformers")
    words = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocab = {word: k for k, word in enumerate(words)}
    config = transformers.CLIPTextConfig(**{**SIZES, "projection_dim": projection or 8, **more})
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = kind(config).eval()
    own = transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=8)
    return {"text_encoder": net, "tokenizer": own}


def t5() -> dict[str, Any]:
    transformers = theirs_of("transformers")
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    own = transformers.T5Tokenizer(vocab=pieces + [(c, -3.0) for c in LETTERS], extra_ids=0)
    config = transformers.T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1,
                                   num_heads=2)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return {"text_encoder": transformers.T5EncoderModel(config).eval(), "tokenizer": own}


def parts_of(kind: str, with_t5: bool = True) -> dict[str, Any]:
    """The encoders and tokenizers that a pipeline of this network has, and a decoder."""
    vae = theirs_of().AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=4, shift_factor=0.1
    )
    if kind.startswith("UNet"):
        groups = [("", clip(0, hidden_size=16))]
    elif kind.startswith("SD3"):
        groups = [("", clip(0, 5)), ("_2", clip(1, 7)), *[("_3", t5())] * with_t5]
    else:
        groups = [("", clip(0, hidden_size=12)), ("_2", t5())]
    return {"vae": vae} | {f"{key}{end}": part for end, own in groups for key, part in own.items()}


def folder_of(at: Path, kind: str, with_t5: bool = True, dynamic: bool = False) -> tuple[Path, Any]:
    """A folder as their pipeline saves it, and the pipeline."""
    own = scheduler("FlowMatchEulerDiscrete", shift=3.0, use_dynamic_shifting=dynamic)
    if kind.startswith("UNet"):
        own = scheduler("DDIM", timestep_spacing="trailing", set_alpha_to_one=False,
                        steps_offset=1)  # fmt: skip
    name = "unet" if kind.startswith("UNet") else "transformer"
    parts = {name: network(kind), "scheduler": own, **parts_of(kind, with_t5)}
    keep(at, parts[name], own, **{k: v for k, v in parts.items() if k not in (name, "scheduler")})
    index = json.loads((at / "model_index.json").read_text())
    said = {key: [entry[0] if isinstance(entry, list) and "token" not in key else "transformers",
                  entry[1]] if isinstance(entry, list) else entry
            for key, entry in index.items()} | {"_class_name": PIPES[kind]}  # fmt: skip
    if not with_t5:
        said |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (at / "model_index.json").write_text(json.dumps(said))
    if kind.startswith("Flux"):
        config = at / "transformer/config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 8}))
    lacks = ["text_encoder_3", "tokenizer_3"] if not with_t5 else []
    extra = ["safety_checker", "feature_extractor"] if name == "unet" else []
    given = {**parts, **dict.fromkeys(lacks + extra)}
    more = {"requires_safety_checker": False} if name == "unet" else {}
    pipe = getattr(theirs_of(), PIPES[kind])(**given, **more)
    pipe.set_progress_bar_config(disable=True)
    return at, pipe


def ends(run: Run, solver: str, text: str, less: str | None, x: torch.Tensor, scale: float) -> Any:
    """Latents from noise by a text, as our solver makes them."""
    said = plan(solver)
    levels = build("grids", said.grid, schedule=run.schedule, steps=4)
    guided = prompts(scale)(run.denoiser)
    steps = trajectory(build("solvers", said.solver), guided, x, levels, Zero(),
                       run.cond([text], less))  # fmt: skip
    return [state.x for state, _ in steps][-1]


CASES = [
    ("UNet2DConditionModel", {}, None),
    ("UNet2DConditionModel", {}, "big"),
    ("SD3Transformer2DModel", {}, None),
    ("SD3Transformer2DModel", {}, "big"),
    ("SD3Transformer2DModel", {"with_t5": False}, None),
    ("FluxTransformer2DModel", {}, "big"),
    ("FluxTransformer2DModel", {"dynamic": True}, "big"),
]


@pytest.mark.parametrize("kind, more, less", CASES)
@torch.no_grad()
def test_a_prompt_is_that_of_their_pipeline(kind, more, less, tmp_path):
    folder, pipe = folder_of(tmp_path / "a", kind, **more)
    plan_ = taken_in(folder, tmp_path / "run").record["plan"]
    run = open_run(tmp_path / "run")
    flux = kind.startswith("Flux")
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    if flux:
        given = {"latents": pipe._pack_latents(x, 1, 4, 8, 8), "true_cfg_scale": 3.0}
    else:
        given = {"latents": x.clone(), "guidance_scale": 3.0}
    latents = pipe(
        "a cat", negative_prompt=less, num_inference_steps=4, output_type="latent", height=8,
        width=8, **given,
    ).images  # fmt: skip
    if flux:
        latents = pipe._unpack_latents(latents, 8, 8, 1)
    mine = ends(run, plan_, "a cat", less, x, 3.0)
    size = latents.abs().max()
    assert (mine - latents).abs().max() < 1e-5 * size
    other = ends(run, plan_, "a dog", less, x, 3.0)  # the planted twin: another prompt is another
    assert (other - latents).abs().max() > 1e-3 * size


@torch.no_grad()
def test_a_folder_with_its_words_leaves_as_it_came(tmp_path):
    folder, pipe = folder_of(tmp_path / "a", "SD3Transformer2DModel")
    taken_in(folder, tmp_path / "run")
    exported(Request(tmp_path / "run", out=tmp_path / "b"), "diffusers")
    again = theirs_of().DiffusionPipeline.from_pretrained(tmp_path / "b")
    for part in ("text_encoder", "text_encoder_2"):
        mine, own = getattr(again, part).state_dict(), getattr(pipe, part).state_dict()
        assert mine.keys() == own.keys()
        assert all(torch.equal(mine[key], own[key]) for key in own)
    for mine, own in zip(again.encode_prompt("a cat", "", ""), pipe.encode_prompt("a cat", "", "")):
        torch.testing.assert_close(mine, own, atol=1e-6, rtol=1e-6)  # where weights lie is rounding


def test_the_command_samples_from_a_prompt(tmp_path, cli):  # noqa: F811
    folder, _ = folder_of(tmp_path / "a", "FluxTransformer2DModel")
    run = tmp_path / "run"
    assert cli("import", folder, "--out", run).code == 0
    out = tmp_path / "cat.png"
    done = cli("sample", run, "--prompt", "a cat", "--n", 2, "--steps", 2, "--out", out)
    assert (done.code, out.exists()) == (0, True)
    (folder / "tokenizer/tokenizer.json").write_text("{}")
    done = cli("sample", run, "--prompt", "a dog", "--n", 1, "--out", out)
    assert (done.code, "text encoder" in done.err) == (2, True)


def test_what_is_no_tokenizer(tmp_path):
    folder, _ = folder_of(tmp_path, "UNet2DConditionModel")
    with pytest.warns(UserWarning, match="was cut to the 8"):
        PipelineText(folder)(["a very long text"])
    broken = folder / "tokenizer/tokenizer.json"
    whole = broken.read_text()
    broken.write_text("[1")
    refused("is no tokenizer", taken_in, folder, tmp_path / "run")
    broken.write_text(whole)
    at = folder / "model_index.json"
    said = json.loads(at.read_text())
    for entry in (["transformers", "PerceiverTokenizer"], ["tokens", "CLIPTokenizer"]):
        at.write_text(json.dumps({**said, "tokenizer": entry}))
        refused("unknown tokenizer", taken_in, folder, tmp_path / "run")


def test_what_is_no_encoder(tmp_path):
    folder, _ = folder_of(tmp_path, "UNet2DConditionModel")
    at, net = folder / "text_encoder/config.json", folder / "unet/config.json"
    said = json.loads(at.read_text())
    for more, says in (
        ({"vocab_size": 10**12}, "vocab_size 1000000000000"),
        ({"max_position_embeddings": "8"}, "max_position_embeddings '8'"),
        ({"use_attention_mask": True}, "use_attention_mask true"),
        ({"architectures": ["os.system"]}, "unknown text encoder 'os.system'"),
    ):
        at.write_text(json.dumps({**said, **more}))
        refused(says, taken_in, folder, tmp_path / "run")
    at.write_text(json.dumps(said))
    net.write_text(
        json.dumps({**json.loads(net.read_text()), "_class_name": "SD3Transformer2DModel"})
    )
    refused("", taken_in, folder, tmp_path / "run")


def test_code_beside_a_tokenizer_is_not_run(tmp_path):
    folder, _ = folder_of(tmp_path, "UNet2DConditionModel")
    at, mark = folder / "tokenizer", tmp_path / "mark"
    said = json.loads((at / "tokenizer_config.json").read_text())
    own = {"AutoTokenizer": ["own.Own", None]}
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    more = {"auto_map": own, "tokenizer_class": "Own", "chat_template": template}
    (at / "tokenizer_config.json").write_text(json.dumps({**said, **more}))
    (at / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: ...\n")
    assert PipelineText(folder)(["a cat"]).tokens.shape == (1, 8)
    assert not mark.exists()
