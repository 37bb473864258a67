"""Texts through latents: held-out ones come back to the letter, and the bound is a bound."""

import pytest
import torch

from scorefield.latent.lettered import LetterVAE, exact
from scorefield.nets.lettered import LetterCoder
from scorefield.objective import Batch
from tests.refusal import fails, refused


def texts(n, seed):
    """Texts of 5 to 9 of four letters, then ends."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 5, (n, 9), generator=rng)
    return x * (torch.arange(9) < torch.randint(5, 10, (n, 1), generator=rng))


@pytest.fixture(scope="module")
def coder():
    torch.manual_seed(0)
    coder = LetterCoder((9,), letters=5, width=32, blocks=1, patch=3, channels=6)
    task, x = LetterVAE(coder), texts(4000, 0)
    optimizer = torch.optim.Adam(coder.parameters(), 5e-3)
    rng = torch.Generator().manual_seed(1)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 400)
        rows = torch.randint(len(x), (64,), generator=rng)
        task.loss(Batch(x[rows], None), task.draw((64, 9), rng)).per_sample.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return coder


def check_return(coder):
    assert exact(coder, texts(500, 2)) > 0.95


def test_held_out_texts_come_back(coder):
    check_return(coder)


@pytest.mark.parametrize("slip", ["places", "others"])
def test_slips(coder, slip):
    """Latents whose places are turned round, and those of another text."""
    own = coder.decode
    coder.decode = lambda z: own(z.flip(2 if slip == "places" else 0))
    try:
        fails("", check_return, coder)
    finally:
        del coder.decode


def test_nothing_stands_behind_an_end(coder):
    x = coder.decode(torch.randn(200, *coder.latent_shape))
    assert (x[:, 1:][(x == 0).cumsum(1)[:, :-1] > 0] == 0).all()


def test_the_bound(coder):
    """At beta 1, of texts on average, at least their entropy: five lengths, four letters."""
    x, rng = texts(2000, 3), torch.Generator().manual_seed(4)
    task = LetterVAE(coder, beta=1.0)
    with torch.no_grad():
        nats = task.loss(Batch(x, None), task.draw((2000, 9), rng)).per_sample.mean()
    entropy = torch.tensor(5.0).log() + 7 * torch.tensor(4.0).log()
    assert float(nats) > float(entropy)


def test_refused():
    refused("shape is", LetterCoder, (3, 4), letters=5)
