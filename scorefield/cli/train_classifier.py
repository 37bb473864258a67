"""`scorefield train-classifier RUN`."""

from scorefield.cli.flags import ImageCount, OnRun, SeedNumber
from scorefield.cli.frame import Bar, Found


class Options(OnRun):
    """Train a classifier of a run's noisy samples, which guides samples to a class. Writes
    RUN/classifier.safetensors and RUN/classifier.json, with its accuracy at each noise level; then
    `scorefield sample RUN --guide classifier --guidance 2` uses it.

    examples:
      scorefield train-classifier runs/digits
      scorefield train-classifier runs/fashion --images 500000 --width 48
    """

    images: ImageCount = 200_000
    width: int = 32
    """Channels at full size (pictures), or a quarter of the hidden units (vectors)."""
    blocks: int = 2
    """Residual blocks at each resolution, or in all."""
    seed: SeedNumber = 0


def work(o: Options, bar: Bar) -> Found:
    from scorefield.use.classify import classify

    def watch(done: float, total: float, loss: float) -> None:
        bar.words = f"loss {loss:.3f}"
        bar(done, total, "img")

    return classify(o.run, o.images, width=o.width, blocks=o.blocks, seed=o.seed, watch=watch)
