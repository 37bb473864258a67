"""Do samples show what they were asked for in words? A run on emoji, by a judge of its own.

    python -m benchmarks.text RUN [--cascade RUN64] [--guidance 3] [--images 60000]
    python -m benchmarks.text RUN-OF-digits-text

The judge learns Twitter's art of all concepts, those too that the run has not seen. Google's art of
the same concepts, which it has not seen, is the ceiling; the run is asked for Google's style. Seen
and held-out concepts stand apart, 100 of each, drawn with one seed. Of digits by words the judge is
that of the digits.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorefield.catalogue.spec import build
from scorefield.data import Data, Split
from scorefield.data.lower import downward, upward
from scorefield.data.named import load_data
from scorefield.data.readers.digits import INK
from scorefield.draw import Asked, draw
from scorefield.measure import frechet, memorisation
from scorefield.measure.kernel import mmd2
from scorefield.measure.memorise import nearest
from scorefield.measure.retrieval import (
    HUES,
    CaptionMatching,
    TwoTower,
    colour_of,
    normalised,
    retrieved,
)
from scorefield.run.open import Run, data_of, open_run
from scorefield.train import Training, learn
from scorefield.use.cascade import Cascade, open_cascade
from scorefield.use.judge import judge_of
from scorefield.use.plan import asked_of
from scorefield.use.request import Request
from scorefield.use.sample import settle

JUDGED, ASKED, R = "twitter", "google", 100
MANY = 600
"""Of all concepts, made large."""
AUGMENT = (0.0, 0.1, 0.2, 0.4)
LEAST = 60
"""Concepts of a group whose kernel distance is worth saying."""


def of_style(data: Data, style: str, split: Split) -> Split:
    rows = split.cond["label"] == data.classes.index(style)
    return Split(split.x[rows], {key: value[rows] for key, value in split.cond.items()})


def judge_of_words(data: Data, images: int) -> TwoTower:
    """Trained on the JUDGED art of all concepts."""
    parts = [of_style(data, JUDGED, split) for split in (data.train, data.test)]
    both = Split(
        torch.cat([p.x for p in parts]),
        {key: torch.cat([p.cond[key] for p in parts]) for key in parts[0].cond},
    )
    assert data.encoded
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = TwoTower(data.shape, data.encoded.tokens.shape[2])
    training = Training(images=images, batch=128, lr=2e-3, warmup=images // 10, decay="linear",
                        weight_decay=0.05, ema=0.0)  # fmt: skip
    return learn(CaptionMatching(judge), replace(data, train=both), training).eval()


def categories(run: Run) -> dict[str, str]:
    """The Unicode group of each caption."""
    lines = (Path(str(run.config.data.path)) / "metadata.jsonl").read_text().splitlines()
    return {row["text"]: row["category"] for row in map(json.loads, lines)}


def generated(run: Run, prompts: list[str], guidance: float | None) -> Tensor:
    """One for each, in the style that is ASKED, seed i of the i-th."""
    request = Request(run, prompt=prompts, labels=ASKED, guidance=guidance)
    asked, plan, *_ = settle(request, list(range(len(prompts))), request.classes)
    return draw(request.denoiser, plan, asked, run.denoiser.shape, batch=64).x


@torch.no_grad()
def measured(judge: TwoTower, data: Data, split: Split, run: Run, scale: float | None) -> Any:
    """How the prompt and its group are found back; how near samples lie to the training pictures,
    and how often the nearest has the prompt for its name."""
    rows = of_style(data, ASKED, split)
    some = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:R]
    x0, cond = data.batch(rows, some)
    said = judge.said(cond["tokens"], cond["mask"])
    own = torch.arange(len(some))
    prompts = [data.captions[k] for k in rows.cond["caption"][some].tolist()]
    made = generated(run, prompts, scale)
    shuffled = own.roll(1)
    sets = {"real": (x0, own), "generated": (made, own), "shuffled": (made, shuffled)}
    found: dict[str, Any] = {
        key: retrieved(judge.seen(x), said, to)._asdict() for key, (x, to) in sets.items()
    }
    for k in ("first", "fifth"):
        found[f"normalised {k}"] = normalised(
            found["generated"][k], found["shuffled"][k], found["real"][k]
        )
    of, groups = categories(run), sorted(set(categories(run).values()))
    group = torch.tensor([groups.index(of[p]) for p in prompts])
    for key, (x, to) in sets.items():
        first = (judge.seen(x) @ said.T).argmax(1)
        found[key]["group"] = float((group[first] == group[to]).float().mean())
    every = torch.arange(len(data.train))
    train = data.batch(data.train, every)[0]
    near = memorisation(made, train, data.batch(data.test, torch.arange(len(data.test)))[0])
    at = nearest(made.flatten(1), train.flatten(1))[1]
    names = data.train.cond["caption"][at].tolist()
    found["to training"] = {
        "ratio": near.ratio, "close": near.close_fraction, "close of real": near.close_real,
        "own": sum(data.captions[k] == p for k, p in zip(names, prompts)) / R,
    }  # fmt: skip
    return found, made, said, prompts


@torch.no_grad()
def by_group(data: Data, run: Run, scale: float | None) -> dict[str, Any]:
    """KID of samples to real art of the same prompts, of every group that has enough; the floor is
    that of two halves of real art, all with standard errors."""
    rows, of = of_style(data, ASKED, data.train), categories(run)
    prompts = [data.captions[k] for k in rows.cond["caption"].tolist()]
    encoder = build("extractors", "efficientnet-lite0")
    real = encoder(data.batch(rows, torch.arange(len(rows)))[0])
    made = encoder(generated(run, prompts, scale))
    found: dict[str, Any] = {}
    for name in ("all", *sorted(set(of.values()))):
        some = torch.tensor([i for i, p in enumerate(prompts) if name in ("all", of[p])])
        some = some[torch.randperm(len(some), generator=torch.Generator().manual_seed(0))]
        if len(some) >= LEAST:
            half = len(some) // 2
            one, other = some[:half], some[half:]
            found[name] = {
                "n": len(some), "kid": mmd2(made[one], real[other]),
                "floor": mmd2(real[one], real[other]),
            }  # fmt: skip
    return found


def colours(data: Data, run: Run, scale: float | None) -> dict[str, float]:
    """How often the colour that a name says is that of the picture."""
    rows = of_style(data, ASKED, data.train)
    index, words = [], []
    for i, k in enumerate(rows.cond["caption"].tolist()):
        said = [w for w in data.captions[k].split() if w in (*HUES, "brown", "black")]
        if len(said) == 1 and "-" not in data.captions[k]:
            index.append(i)
            words.append(said[0])
    x0 = data.batch(rows, torch.tensor(index))[0]
    made = generated(run, [data.captions[rows.cond["caption"][i]] for i in index], scale)
    shares = [sum(colour_of(x) == w for x, w in zip(xs, words)) / len(words) for xs in (x0, made)]
    return {"n": len(words), "real": shares[0], "generated": shares[1]}


def sensitivity(run: Run, prompts: list[str], scale: float | None) -> float:
    """The distance of two prompts at one seed over that of two seeds at one prompt."""
    few = prompts[:16]
    one, other = generated(run, few, scale), generated(run, few[1:] + few[:1], scale)
    seeds = Request(run, prompt=few, labels=ASKED, guidance=scale)
    asked, plan, *_ = settle(seeds, [1000 + i for i in range(16)], seeds.classes)
    again = draw(run.denoiser, plan, asked, run.denoiser.shape).x
    return float((one - other).square().mean() / (one - again).square().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cascade", type=Path)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    run = open_run(given.run)
    if run.info.name == "captioned-digits":
        print(json.dumps(digits_by_words(run, given.guidance), indent=1))
        return
    data = data_of(run)
    judge = judge_of_words(data, given.images)
    found: dict[str, Any] = {"images": run.images_seen, "guidance": given.guidance}
    for name, split in (("seen", data.train), ("held out", data.test)):
        found[name], made, said, prompts = measured(judge, data, split, run, given.guidance)
        if name == "seen":
            found["sensitivity"] = sensitivity(run, prompts, given.guidance)
        if given.cascade:
            found[name]["cascade"] = cascaded(judge, run, given.cascade, made, said)
    if given.cascade:
        found["large"] = enlarged(data, run, given.cascade, given.guidance)
    found["groups"] = by_group(data, run, given.guidance)
    found["colours"] = colours(data, run, given.guidance)
    print(json.dumps(found, indent=1))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1))


def digits_by_words(run: Run, scale: float | None, n: int = 1020) -> dict[str, Any]:
    """How often the digit is the one that was asked for, of all 30 prompts in turn; and the mean
    ink of what was to be thin, neither, or bold, over that of real ones."""
    data = load_data("captioned-digits")
    prompts = list(data.captions)
    judge, accuracy = judge_of(run.path, load_data("digits"))
    request = Request(run, prompt=prompts, guidance=scale)
    asked, plan, *_ = settle(request, list(range(n)), None)
    x = draw(request.denoiser, plan, asked, run.denoiser.shape).x
    row = torch.arange(n) % len(prompts)
    with torch.no_grad():
        hits = judge(x).argmax(1) == row // len(INK)
    ink = [float((x[row % len(INK) == k].mean() + 1) / 2) for k in range(len(INK))]
    of = data.train.cond["caption"] % len(INK)
    real = [float(data.train.x[of == k].float().mean() / 16) for k in range(len(INK))]
    share = float(hits.float().mean())
    return {"obeyed": share, "stderr": (share * (1 - share) / n) ** 0.5, "judge": accuracy,
            "ink": dict(zip(INK, ink)), "real ink": dict(zip(INK, real)), "n": n}  # fmt: skip


@torch.no_grad()
def cascaded(judge: TwoTower, run: Run, path: Path, made: Tensor, said: Tensor) -> Any:
    """By augmentation: retrieval of what the second stage makes of `made`, made small again."""
    second = open_cascade(path, run, None)
    asked, factor = in_style(second, len(made)), second.run.denoiser.shape[-1] // made.shape[-1]
    found: dict[str, Any] = {}
    for s in AUGMENT:
        back = downward(replace(second, augment=s)(made, asked), factor)
        psnr = -10 * torch.log10((back - made).square().mean() / 4)
        first = retrieved(judge.seen(back), said, torch.arange(len(said))).first
        found[f"augment {s}"] = {"consistency dB": float(psnr), "R@1": first}
    return found


@torch.no_grad()
def enlarged(data: Data, run: Run, path: Path, scale: float | None) -> dict[str, float]:
    """Frechet distance of large pictures to real art of the same prompts, by augmentation, beside
    bicubic upscaling of the same small ones: in the 16 directions in which the features
    (EfficientNet-Lite0) of all real art of the style spread most. Pixels would not do: their widest
    directions are smooth, and bicubic upscaling keeps those. Floor: other real art."""
    second = open_cascade(path, run, None)
    large, encoder = data_of(second.run), build("extractors", "efficientnet-lite0")
    rows = of_style(large, ASKED, large.train)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    real = encoder(large.batch(rows, order)[0])
    _, _, v = torch.pca_lowrank(real - real.mean(0), 16, niter=4)
    small = of_style(data, ASKED, data.train)
    assert len(small) == len(rows)
    captions = small.cond["caption"][order[:MANY]].tolist()
    made = generated(run, [data.captions[k] for k in captions], scale)

    def to_real(found: Tensor) -> float:
        return frechet(found @ v, real[:MANY] @ v)

    factor = large.shape[-1] // made.shape[-1]
    bicubic = torch.nn.functional.interpolate(made, scale_factor=factor, mode="bicubic")
    found = {
        "n": MANY, "floor": to_real(real[MANY:]), "bicubic": to_real(encoder(bicubic)),
        "nearest": to_real(encoder(upward(made, factor))),
    }  # fmt: skip
    asked = in_style(second, MANY)
    return found | {
        f"augment {s}": to_real(encoder(replace(second, augment=s)(made, asked))) for s in AUGMENT
    }


def in_style(second: Cascade, n: int) -> Asked:
    """n pictures in the style that is ASKED, seed i of the i-th."""
    label = data_of(second.run).classes.index(ASKED)
    return asked_of(second.run.denoiser, seeds=range(n), labels=[label] * n)


if __name__ == "__main__":
    main()
