"""A pair that makes pictures of words by way of what an encoder sees in pictures."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scorefield.cli import main
from scorefield.data.embedded import in_embeddings
from scorefield.data.named import load_data
from scorefield.data.readers.arrays import read_npz
from scorefield.draw import Asked
from scorefield.measure import Judge
from scorefield.run.open import data_of, open_run
from scorefield.run.recipes import recipe
from scorefield.run.train import fit_run
from scorefield.store import keep_model
from scorefield.use.cascade import Cascade, open_cascade
from scorefield.use.request import Request
from tests.refusal import fails, refused

NETS = {"prior": "mlp:width=16,blocks=1", "decoder": "unet:width=8,multipliers=1,blocks=1"}


def judged(folder, seed):
    """A judge that nobody trained sees something too."""
    torch.manual_seed(seed)
    judge = Judge((1, 8, 8), 10, name="digits-judge", features=8)
    keep_model(folder, "judge", judge, {"config": judge.config})
    return f"judge:path={folder}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    for seed, name in enumerate(("one", "other")):
        for half in NETS:
            config = recipe(f"digits-{half}")
            data = replace(config.data, **{half: judged(root / name, seed)})
            where = root / name / half
            fit_run(replace(config, data=data, net=NETS[half]), where, images=256, batch=128)
    return root


def open_pair(root, first="one", second="one"):
    prior = open_run(root / first / "prior")
    return prior, open_cascade(root / second / "decoder", prior, None)


def check_told(cascade, run):
    """Embeddings as the prior makes them are told to the decoder as it was told them in training:
    those of held-out digits here."""
    own, pictures = data_of(run), data_of(cascade.run)
    rows = torch.arange(20)
    e, cond = own.batch(own.test, rows)
    shown = cascade.shown(e, Asked(rows, cond)).cond
    torch.testing.assert_close(shown["vector"], pictures.batch(pictures.test, rows)[1]["vector"])
    seen = cascade.run.seen(pictures.batch(pictures.test, rows)[0])
    torch.testing.assert_close(seen["vector"], shown["vector"])


def test_what_the_prior_makes_is_what_the_decoder_was_told(pair, monkeypatch):
    prior, cascade = open_pair(pair)
    check_told(cascade, prior)
    far = replace(prior.info.scaling, scale=tuple(2 * s for s in prior.info.scaling.scale))
    fails("", check_told, Cascade(cascade.run, 0.0, far), prior)


def test_embeddings_are_standardised_and_keep_their_captions():
    whole = load_data("captioned-digits")
    data = in_embeddings(whole, lambda x: 3 + x.flatten(1)[:, 8:16], "mine")
    x0, _ = data.batch(data.train, torch.arange(len(data.train)))
    assert data.shape == (8,)
    assert float(x0.mean(0).abs().max()) < 1e-4
    assert torch.equal(data.test.cond["caption"], whole.test.cond["caption"])
    torch.testing.assert_close(x0.std(0, correction=0), torch.ones(8))


def test_words_become_pictures_and_pictures_their_like(pair):
    prior, decoder = (str(pair / "one" / half) for half in NETS)
    out = pair / "seven.npz"
    words = ["sample", prior, "--prompt", "a seven", "--cascade", decoder]
    assert main([*words, "--n", "3", "--out", str(out)]) == 0
    assert read_npz(out)["x"].shape == (3, 1, 8, 8)
    assert main([*words, "--n", "2", "--out", str(pair / "seven.png")]) == 0
    assert main(["sample", decoder, "--conditions", "test:3", "--n", "3", "--out", str(out)]) == 0
    request = Request(open_run(decoder), conditions=Path("test:3"))
    assert request.cond
    assert request.cond["vector"].shape == (1, 8)


def test_another_encoder_is_refused(pair):
    refused("makes pictures of embeddings by digits-judge", open_pair, pair, "one", "other")
    run = open_run(pair / "one" / "decoder")
    refused("and .*decoder makes no embeddings", open_cascade, run.path, run, None)
    refused("`augment` 0.1 does nothing", open_cascade, run.path, open_pair(pair)[0], 0.1)
    refused("is no decoder", open_pair(pair)[0].seen, torch.zeros(1, 1, 8, 8))
    kept = {file: file.read_bytes() for file in (pair / "one").glob("judge.*")}
    judged(pair / "one", 5)
    refused("the encoder is digits-judge", run.seen, torch.zeros(1, 1, 8, 8))
    refused("pictures are embedded by digits-judge", data_of, run)
    for file, content in kept.items():
        file.write_bytes(content)


def test_what_cannot_be_embedded_is_refused(tmp_path):
    config = recipe("digits-prior")
    none = replace(config.data, prior=f"judge:path={tmp_path}")
    refused("has no judge. Make one: scorefield eval", fit_run, replace(config, data=none), None)
    both = replace(config.data, decoder="judge:path=runs/digits")
    refused("`data.prior`", fit_run, replace(config, data=both), None)
    moons = replace(config.data, name="moons", text=None, prior=judged(tmp_path, 0))
    refused("an encoder of pictures is given", fit_run, replace(config, data=moons), None)
