"""Tokens under a mask: what fills a sequence up changes no bit, and an empty one is none. Each law
has a planted-defect twin."""

import math

import pytest
import torch
import torch.nn.functional as F

from scorefield.base import Level
from scorefield.denoise import Denoiser
from scorefield.guide import cfg, prompts
from scorefield.nets import MLP, UNet, dit, embed, tokens, unet
from tests.nets.test_conditions import BATCH, SHAPE, build, every, far, inputs
from tests.refusal import fails, refused

READ = 5
kinds = pytest.mark.parametrize("kind", [{"vocabulary": 9, "length": 40}, {"tokens": 5}], ids=str)


def told(kind: dict, length: int, junk: float = 0) -> dict[str, torch.Tensor]:
    """The same READ tokens, filled up to a length with junk that the mask leaves out."""
    rng = torch.Generator().manual_seed(3)
    mask = (torch.arange(length) < READ).expand(BATCH, length)
    if "tokens" in kind:
        whole = torch.full((BATCH, length, 5), float(junk))
        whole[:, :READ] = torch.randn(BATCH, READ, 5, generator=rng)
    else:
        whole = torch.full((BATCH, length), int(junk == junk) * 8)
        whole[:, :READ] = torch.randint(9, (BATCH, READ), generator=rng)
    return {"tokens": whole, "mask": mask}


def pad_law(net, kind):
    """What is read are the tokens alone, as without a mask; neither how many places fill up nor
    what those hold, nan included, changes one bit."""
    x, noise = inputs()
    alone = net(x, noise, {"tokens": told(kind, READ)["tokens"]})
    torch.testing.assert_close(net(x, noise, told(kind, 8)), alone, rtol=0, atol=1e-12)
    net, x, noise = net.float(), x.float(), noise.float()
    plain = net(x, noise, told(kind, READ))
    assert plain.isfinite().all()
    for length in (READ + 1, 8, 31, 32):
        for junk in (0.0, 3.0, torch.nan):
            assert torch.equal(net(x, noise, told(kind, length, junk)), plain), (length, junk)


def empty_law(net, kind, poison=3.0):
    """A prompt without tokens, one that was taken away and none are the same, and finite."""
    x, noise = inputs()
    cond = told(kind, 8, poison)
    empty = net(x, noise, {**cond, "mask": torch.zeros(BATCH, 8, dtype=torch.bool)})
    dropped = net(x, noise, {**cond, "null": torch.ones(BATCH, dtype=torch.bool)})
    assert empty.isfinite().all()
    assert torch.equal(empty, dropped)
    torch.testing.assert_close(empty, net(x, noise, None), rtol=0, atol=1e-12)
    assert far(empty, net(x, noise, cond))
    one = cond["mask"].clone()
    one[0] = False
    mixed = net(x, noise, {**cond, "mask": one})
    torch.testing.assert_close(mixed[0], empty[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(mixed[1:], net(x, noise, cond)[1:], rtol=0, atol=1e-12)


@every
@kinds
def test_what_fills_up_changes_nothing(name, kind):
    pad_law(build(name, **kind), kind)


@every
@kinds
def test_an_empty_prompt_is_none(name, kind):
    empty_law(build(name, **kind), kind)


@every
def test_a_mask_that_is_not_used_is_found(name, monkeypatch):
    real = tokens.cross_attention
    monkeypatch.setattr(tokens, "cross_attention", lambda q, kv, heads, mask: real(q, kv, heads))
    fails("", pad_law, build(name, tokens=5), {"tokens": 5})


class Flat(torch.nn.Module):
    """An MLP that is shown the pictures of these tests as vectors."""

    def __init__(self, **kind):
        super().__init__()
        torch.manual_seed(0)
        self.net = MLP((math.prod(SHAPE),), width=16, blocks=1, **kind)
        for weight in self.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        self.double()

    def forward(self, x, noise, cond=None):
        return self.net(x.flatten(1), noise, cond)


@kinds
def test_a_perceptron_reads_their_mean_and_no_more(kind, monkeypatch):
    pad_law(Flat(**kind), kind)
    empty_law(Flat(**kind), kind)
    monkeypatch.setattr(tokens.Context, "mean", property(lambda told: told.tokens.mean(1)))
    fails("", pad_law, Flat(**kind), kind)


@kinds
def test_a_pooled_mean_is_of_what_is_read(kind, monkeypatch):
    net = build("unet", pooled=True, **kind)
    x, noise = inputs()
    pad_law(build("unet", pooled=True, **kind), kind)
    empty_law(net, kind)
    for block in net.modules():  # then the mean alone says anything
        if isinstance(block, unet.Reading):
            block.forward = lambda x, context: x
    assert far(net(x, noise, told(kind, READ)), net(x, noise, None))
    monkeypatch.setattr(tokens.Context, "mean", property(lambda told: told.tokens.mean(1)))
    fails("", pad_law, build("unet", pooled=True, **kind), kind)


def test_a_pooled_mean_wants_tokens():
    refused("no tokens", UNet, SHAPE, width=8, pooled=True)


@every
def test_an_added_mask_and_no_null_token_are_found(name, monkeypatch):
    """-1e4 leaves places out, but of a row that has none left: then padding is read."""

    real = tokens.cross_attention

    def added(q, kv, heads, mask):
        if mask is None:
            return real(q, kv, heads)
        k, v = kv.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
        bias = torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -1e4)[:, None, None]
        return F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)

    kind = {"tokens": 5}
    monkeypatch.setattr(tokens, "cross_attention", added)
    pad_law(build(name, **kind), kind)  # as long as there is a token, nothing is seen of it
    for module in (unet, dit):
        monkeypatch.setattr(module, "as_null", lambda cond: cond)
    fails("", empty_law, build(name, **kind), kind)


def test_attention_to_nothing_is_not_nan_and_a_plain_softmax_is():
    """Why the null token is read: what attention makes of no place is the library's choice."""
    q, k, v = torch.randn(3, 1, 1, 2, 4)
    none = torch.zeros(1, 1, 1, 2, dtype=torch.bool)
    assert not F.scaled_dot_product_attention(q, k, v, none).any()
    from scorefield.nets.attention import products

    assert products(q, k, v, none).isnan().all()


def test_guidance_0_and_1_are_the_null_and_the_plain_model():
    kind = {"tokens": 5}
    denoiser = Denoiser(build("unet", **kind).requires_grad_(False), "v")
    x, _ = inputs()
    level, cond = Level.of(0.6, 0.8), told(kind, 8)
    cond = {k: v.double() if v.is_floating_point() else v for k, v in cond.items()}
    empty = {**cond, "mask": torch.zeros(BATCH, 8, dtype=torch.bool)}
    for guide in (cfg, prompts):
        plain, null = (guide(s)(denoiser)(x, level, cond) for s in (1.0, 0.0))
        torch.testing.assert_close(plain, denoiser(x, level, cond), rtol=0, atol=1e-12)
        torch.testing.assert_close(null, denoiser(x, level, empty), rtol=0, atol=1e-12)
    assert torch.equal(cfg(1.0)(denoiser)(x, level, cond), denoiser(x, level, cond))


def test_a_negative_prompt_is_the_null_of_guidance_and_weights_add():
    kind = {"tokens": 5}
    denoiser = Denoiser(build("dit", **kind).requires_grad_(False), "v")
    x, _ = inputs()
    level, one, other = Level.of(0.6, 0.8), told(kind, 8), told(kind, 8)
    other["tokens"] = other["tokens"].flip(0)
    less = {f"less.{k}": v for k, v in other.items()}
    also = {f"also1.{k}": v for k, v in other.items()} | {"also1.weight": torch.full((BATCH,), 0.5)}
    D1, D2, D0 = (denoiser(x, level, c) for c in (one, other, None))
    found = prompts(3.0)(denoiser)(x, level, {**one, **less})
    torch.testing.assert_close(found, D2 + 3 * (D1 - D2), rtol=0, atol=1e-12)
    found = prompts(3.0)(denoiser)(x, level, {**one, **also})
    torch.testing.assert_close(found, D0 + 3 * (D1 - D0) + 1.5 * (D2 - D0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "mask", [torch.ones(BATCH, 4, dtype=torch.bool), torch.ones(BATCH, 8)], ids=["size", "type"]
)
def test_a_mask_that_fits_no_tokens_is_refused(mask):
    x, noise = inputs()
    refused(
        "condition 'mask'",
        build("unet", tokens=5),
        x,
        noise,
        {**told({"tokens": 5}, 8), "mask": mask},
    )


def test_a_mask_without_tokens_to_read_is_refused():
    x, noise = inputs()
    mask = torch.ones(BATCH, 4, dtype=torch.bool)
    refused(
        "built without 'mask'",
        build("unet", classes=2),
        x,
        noise,
        {"label": torch.zeros(BATCH).long(), "mask": mask},
    )
    assert embed.as_null(None) is None
