"""What a run makes of words that it has not learned from, for its page."""

import torch
from torch import Tensor

from scorefield.base.finding import Findings, Strip, over_rows
from scorefield.run.open import Run, data_of
from scorefield.use.generate import generate
from scorefield.use.plan import settings_of

TEXTS, SEEDS = 6, 5
SCALES = (0.0, 1.0, 2.0, 4.0)
"""Of guidance: nothing is told, all is, and more."""


def of_words(run: Run) -> Findings:
    """Held-out captions, each by the real picture of it and samples of some seeds; and the same
    seed of each at several scales of guidance."""
    data, settings = data_of(run), settings_of(run)
    own = data.test.cond["caption"]
    few = own.unique()
    few = few[torch.linspace(0, len(few) - 1, min(TEXTS, len(few))).long()]
    x0, cond = data.batch(data.test, torch.stack([(own == k).nonzero()[0, 0] for k in few]))
    texts, n = [data.captions[k] for k in few.tolist()], len(few)

    def made(seeds: Tensor, scale: float) -> Tensor:
        own = dict(settings, guidance=scale)
        return generate(run.denoiser, cond=cond, seeds=seeds.repeat_interleave(n), **own)

    several = made(torch.arange(SEEDS), settings["guidance"]).unflatten(0, (SEEDS, n))
    beside = torch.cat((x0[None], several)).transpose(0, 1).flatten(0, 1)
    swept = torch.cat([made(torch.zeros(1).long(), scale) for scale in SCALES])
    heads = [f"guidance {scale:g}" for scale in SCALES]
    items = (
        Strip("Held-out texts", beside, SEEDS + 1, captions=over_rows(texts, SEEDS + 1),
              words="A real picture of each, then samples of some seeds."),
        Strip("Guidance", swept, n, captions=over_rows(heads, n),
              words="The same texts and one seed, told nothing (0), plainly (1) and more."),
    )  # fmt: skip
    how = f"{settings['solver']}, {settings['steps']} steps, guidance {settings['guidance']:g}"
    return Findings("sample", str(run.path), how, items)
