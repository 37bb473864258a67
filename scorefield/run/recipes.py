"""Recipes: functions that return a whole typed configuration. Each is a `scorefield train NAME`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from scorefield.base.errors import unknown
from scorefield.run.settings import Config, DataConfig, ObjectiveConfig, SampleConfig
from scorefield.train import Training

settling = partial(Training, decay="linear")
muon = partial(settling, optimizer="muon")
"""Trainings that end at rest."""
large = partial(
    Training, images=50_000_000, batch=512, lr=1e-3, warmup=200_000, precision="bf16", ema=0.9999,
    checkpoint_every=1_000_000,
)  # fmt: skip
"""Those of a GPU."""
GENERATED = SampleConfig("ddim", 1, "uniform-t")
"""How a generator makes samples."""


def digits() -> Config:
    """Real 8x8 handwritten digits, embedded: ten classes, under a minute on two cores."""
    return Config(
        muon(images=46_000, batch=128, lr=3e-3, warmup=3_000, checkpoint_every=20_000),
        DataConfig("digits"),
        "auto:width=24,multipliers=1-2,blocks=2",
        sample=SampleConfig(steps=10, guidance=1.3),
    )


def digits_text() -> Config:
    """Digits by words: "a seven", "a thin three"; a vector for each word, two or three minutes."""
    return Config(
        muon(images=100_000, batch=128, lr=3e-3, warmup=3_000, checkpoint_every=50_000),
        DataConfig("captioned-digits", text="words"),
        "auto:width=24,multipliers=1-2,blocks=2",
        sample=SampleConfig(steps=10, guidance=1.5),
    )


def digits_prior() -> Config:
    """What the judge beside runs/digits sees in digits, by words: for `cascade` digits-decoder."""
    return Config(
        settling(images=400_000, batch=256, lr=2e-3, warmup=12_000, checkpoint_every=100_000),
        DataConfig("captioned-digits", text="words", prior="judge:path=runs/digits"),
        "mlp:width=192,blocks=3",
        sample=SampleConfig(steps=10, guidance=1.5),
    )


def digits_decoder() -> Config:
    """Digits from what that judge sees in them, and variations of a digit; a minute."""
    return Config(
        muon(images=46_000, batch=128, lr=3e-3, warmup=3_000, checkpoint_every=20_000),
        DataConfig("captioned-digits", decoder="judge:path=runs/digits"),
        "auto:width=24,multipliers=1-2,blocks=2,attention=(),norms=1",
        sample=SampleConfig(steps=10),
    )


def digits_autoencoder() -> Config:
    """A variational autoencoder of the digits: 64 pixels as 16 numbers, half a minute."""
    return Config(
        settling(images=200_000, batch=128, lr=2e-3, warmup=6_000, checkpoint_every=50_000),
        DataConfig("digits"),
        "mlp-autoencoder:width=256,latent=16",
        ObjectiveConfig("vae:beta=0.3"),
    )


def digits_gan() -> Config:
    """A generator of the digits and its critic (GAN), beside diffusion: one call makes a sample."""
    return Config(
        settling(
            images=100_000, batch=128, lr=1e-3, warmup=3_000, ema=0.998, checkpoint_every=50_000
        ),
        DataConfig("digits"),
        "auto:width=16,multipliers=1-2,blocks=1,attention=(),norms=1",
        ObjectiveConfig("gan"),
        GENERATED,
    )


def digits_latent() -> Config:
    """Diffusion in the latents of digits-autoencoder. Give `codec` runs/digits-autoencoder."""
    return Config(
        settling(images=400_000, batch=256, lr=2e-3, warmup=12_000, checkpoint_every=100_000),
        DataConfig("digits"),
        "mlp:width=192,blocks=3",
        sample=SampleConfig(steps=10, guidance=1.3),
        codec="runs/digits-autoencoder",
    )


def digits_likelihood() -> Config:
    """Real 8x8 handwritten digits, for bits a dimension: learned schedule, a minute or two.

    The bound itself trains network and schedule, which ends where 17 levels blur together.
    """
    return Config(
        Training(images=100_000, batch=128, lr=2e-3, checkpoint_every=20_000),
        DataConfig("digits"),
        "auto:width=24,multipliers=1-2,blocks=2,dropout=0.15",
        ObjectiveConfig("variational", "learned", cleanest=7.0, times="antithetic"),
        SampleConfig(steps=10, guidance=1.3),
    )


def fashion_mnist() -> Config:
    """Fashion-MNIST, 28x28 grey, ten classes: about 35 minutes of a core with bfloat16.

    One norm a block and no attention: a step takes 9% less time, and 25,600 images of training end
    at the same loss.
    """
    return Config(
        muon(
            images=280_000,
            batch=128,
            lr=3e-3,
            warmup=5_000,
            precision="bf16",
            checkpoint_every=50_000,
        ),
        DataConfig("fashion-mnist"),
        "auto:width=32,multipliers=1-2-2,blocks=2,attention=(),norms=1",
    )


def fashion_mnist_autoencoder() -> Config:
    """A variational autoencoder of Fashion-MNIST: 28x28 pixels as 7x7 places of 4 numbers."""
    return Config(
        settling(images=300_000, batch=128, lr=1e-3, warmup=10_000, checkpoint_every=50_000),
        DataConfig("fashion-mnist"),
        "autoencoder:width=16,multipliers=1-2-4,latent=4",
        ObjectiveConfig("vae:beta=0.3"),
    )


def fashion_mnist_latent() -> Config:
    """Diffusion in the latents of fashion-mnist-autoencoder: four minutes of a core."""
    return Config(
        muon(
            images=120_000, batch=128, lr=3e-3, warmup=5_000, precision="bf16", compile=False,
            checkpoint_every=40_000,
        ),
        DataConfig("fashion-mnist"),
        "auto:width=48,multipliers=1-2,blocks=2,attention=1,norms=1",
        codec="runs/fashion-mnist-autoencoder",
    )  # fmt: skip


def restore_pairs() -> Config:
    """To restore what a corruption leaves, learned from pairs. Give `data.corruption` blur:2, ...

    I2SB, told what it begins in; of the digits unless `data.name` and `data.path` say others.
    """
    return Config(
        muon(images=46_000, batch=128, lr=3e-3, warmup=3_000, checkpoint_every=20_000),
        DataConfig("digits", corruption="blur:2", noise=0.05),
        "auto:width=24,multipliers=1-2,blocks=2",
        ObjectiveConfig("bridge:spread=0.5", "flow", times="uniform", dropout=0.0),
        SampleConfig(steps=10),
    )


def mnist() -> Config:
    """MNIST, 28x28 grey, ten classes."""
    return Config(
        Training(images=1_000_000, batch=128, lr=1e-3, precision="bf16", checkpoint_every=100_000),
        DataConfig("mnist"),
        "auto:width=64,multipliers=1-2-2,blocks=2",
    )


def cifar10() -> Config:
    """CIFAR-10, 32x32 colour, ten classes; sized for a GPU."""
    return Config(
        large(compile=True),
        DataConfig("cifar10"),
        "auto:width=128,multipliers=1-2-2,blocks=3,attention=1,dropout=0.13",
    )


def cifar10_autoencoder() -> Config:
    """A variational autoencoder of CIFAR-10: 32x32 colour as 8x8 places of 4 numbers, for a GPU."""
    return Config(
        settling(
            images=10_000_000,
            batch=256,
            lr=5e-4,
            warmup=100_000,
            precision="bf16",
            checkpoint_every=500_000,
        ),
        DataConfig("cifar10"),
        "autoencoder:width=64,multipliers=1-2-4,blocks=2,latent=4",
        ObjectiveConfig("vae:beta=0.1"),
    )


def cifar10_latent() -> Config:
    """Diffusion in the latents of cifar10-autoencoder; sized for a GPU."""
    return Config(
        large(),
        DataConfig("cifar10"),
        "auto:width=128,multipliers=1-2,blocks=3,attention=1,dropout=0.13",
        codec="runs/cifar10-autoencoder",
    )


def emoji() -> Config:
    """Emoji by their names, 32x32, in three styles. Give `data.path`: scorefield data emoji.

    The styles are classes, so that a prompt may ask for one. About 45 minutes of one core that
    has instructions for bfloat16.
    """
    return Config(
        muon(
            images=600_000, batch=64, lr=2e-3, warmup=5_000, precision="bf16", compile=False,
            checkpoint_every=20_000,
        ),
        DataConfig("folder", size=32, channels=3, text="minilm"),
        "auto:width=48,multipliers=1-2-4,blocks=1,norms=1,fold=2,attention=1-2,pooled=True",
        sample=SampleConfig(steps=20, guidance=3.0),
    )  # fmt: skip


def emoji_64() -> Config:
    """Emoji from 32x32 to 64x64, for `cascade`. Give `data.path`. About 10 minutes."""
    return Config(
        muon(
            images=160_000, batch=32, lr=2e-3, warmup=3_000, precision="bf16", compile=False,
            checkpoint_every=20_000,
        ),
        DataConfig("folder", size=64, channels=3, low=32),
        "auto:width=32,multipliers=1-2,blocks=1,norms=1,fold=2,attention=()",
        sample=SampleConfig(steps=10),
    )  # fmt: skip


def folder() -> Config:
    """Your own pictures: a folder, class = sub-folder. Give `data.path` and `data.size`."""
    return Config(
        Training(images=1_000_000, batch=64, lr=1e-3, precision="bf16", checkpoint_every=50_000),
        DataConfig("folder"),
        "auto:width=64,multipliers=1-2-2,blocks=2",
    )


def npz() -> Config:
    """Your own arrays: an .npz with x and perhaps labels y, or an .npy. Give `data.path`."""
    return Config(
        Training(images=1_000_000, batch=128, lr=1e-3, checkpoint_every=50_000),
        DataConfig("npz"),
        "auto:width=64,multipliers=1-2,blocks=2",
    )


def huggingface() -> Config:
    """A Hugging Face data set, by name or local path. Give `data.path`."""
    return replace(folder(), data=DataConfig("huggingface"))


def points() -> Config:
    """Points of a sphere, torus or SO(3), such as places on the globe. Give `data.path`.

    A .csv of lat and lon, GeoJSON, or an .npz: `data.kind` sphere, torus or rotations.
    """
    return Config(
        settling(images=2_000_000, batch=2048, lr=2e-3, checkpoint_every=500_000),
        DataConfig("points"),
        "mlp:width=128,blocks=3",
        ObjectiveConfig("kernel-score", "ve:0.02,4.0", view="x0"),
        SampleConfig(solver="geodesic-walk", grid="karras:rho=3", steps=100),
    )


def letters() -> Config:
    """Lines of a text file, by masked diffusion. Give `data.path`."""
    return Config(
        settling(images=400_000, batch=128, lr=2e-3, warmup=10_000, checkpoint_every=100_000),
        DataConfig("letters"),
        "letters:width=128,depth=4",
        ObjectiveConfig("absorbing", "flow", view="x0", times="antithetic"),
        SampleConfig(solver="state-walk", grid="uniform-t", steps=64),
    )


def smiles() -> Config:
    """Molecules of a file of SMILES, from left to right. Give `data.path`; rdkit reads them.

    With `data.properties` logP, QED, or both joined by +, samples may be asked for those.
    """
    return Config(
        muon(images=1_000_000, batch=64, lr=2e-3, warmup=5_000, checkpoint_every=100_000),
        DataConfig("smiles"),
        "causal:width=128,depth=4",
        ObjectiveConfig("autoregressive", "flow", view="x0", times="antithetic"),
        SampleConfig(solver="state-walk", grid="uniform-t", steps=100),
    )


def conformers() -> Config:
    """Molecules of a file of SMILES in space, by an equivariant network. Give `data.path`."""
    return Config(
        muon(images=200_000, batch=64, lr=2e-3, warmup=5_000, checkpoint_every=50_000),
        DataConfig("conformers"),
        "sets:width=64,blocks=4,coordinates=3",
        sample=SampleConfig(steps=50),
    )


def table() -> Config:
    """Rows of a .csv or .parquet: numbers, words, missing cells. Give `data.path`.

    Some ten minutes of a core; docs/tables.md says how far that leads, and less.
    """
    return Config(
        settling(images=5_500_000, batch=256, lr=2e-3, warmup=20_000, checkpoint_every=500_000),
        DataConfig("table"),
        "cells:width=256,blocks=3",
        ObjectiveConfig("absorbing", "flow", view="x0", times="antithetic"),
        SampleConfig(solver="state-walk", grid="uniform-t", steps=150),
    )


def sounds() -> Config:
    """Your own sounds: a folder, class = sub-folder, half a second each. Give `data.path`.

    Some 14 minutes of a core; docs/sound.md says how far that leads.
    """
    return Config(
        muon(images=48_000, batch=32, lr=3e-3, warmup=1_500, checkpoint_every=8_000),
        DataConfig("sounds"),
        "auto:width=48,multipliers=1-2-3,blocks=1,norms=1,fold=32,attention=2,dropout=0.1,places=true",
        sample=SampleConfig(steps=20, guidance=3.0),
    )


def sounds_mel() -> Config:
    """Your own sounds as pictures of their spectra, 64 bands of notes. Give `data.path`.

    A third of the time of `sounds`, and drums that are told apart better (docs/sound.md).
    """
    return Config(
        muon(
            images=14_000, batch=32, lr=3e-3, warmup=1_500, precision="bf16", compile=False,
            checkpoint_every=7_000,
        ),
        DataConfig("sounds", mel=64),
        "auto:width=64,multipliers=1-2-2,blocks=1,norms=1,fold=4,attention=2,dropout=0.1,places=true",
        sample=SampleConfig(steps=20, guidance=3.0),
    )  # fmt: skip


def series() -> Config:
    """Series of a .csv, .ts or .npz, to be forecast: the last 12 moments. Give `data.path`.

    `data.corruption` future:12 says how many; gap:8,4 hides others, to be filled in.
    """
    return Config(
        muon(images=100_000, batch=64, lr=2e-3, warmup=3_000, checkpoint_every=25_000),
        DataConfig("series", corruption="future:12"),
        "auto:width=32,multipliers=1-2,blocks=1,norms=1,fold=2,attention=1",
        ObjectiveConfig(dropout=0.0),
        sample=SampleConfig(steps=20),
    )


def moving_digits() -> Config:
    """Digits that move and are thrown back by walls: told two moments of 16x16, the next one.

    Longer films by windows (docs/video.md has the figures). Trained more
    where noise hides the frame to be made: the usual levels teach to clean it, not how it moves.
    """
    return Config(
        muon(
            images=200_000, batch=32, lr=3e-3, warmup=1_500, compile=False, checkpoint_every=20_000
        ),
        DataConfig("moving-digits", size=3, corruption="future:1"),
        "auto:width=32,multipliers=1-2,blocks=1,norms=1,fold=3-1-1,attention=1",
        ObjectiveConfig(dropout=0.1, times="covering:law=(lognormal:0.5,1.8),fraction=0.35"),
        sample=SampleConfig(steps=20),
    )


def _toy(name: str) -> Config:
    return Config(
        Training(images=2_000_000, batch=2048, lr=2e-3, checkpoint_every=500_000),
        DataConfig(name),
        "mlp:width=128,blocks=3",
        ObjectiveConfig(dropout=0.1),
        SampleConfig(solver="heun", steps=20),
    )


def swiss_roll() -> Config:
    """A spiral in the plane."""
    return _toy("swiss-roll")


def moons() -> Config:
    """Two half moons in the plane, two classes."""
    return _toy("moons")


def eight_gaussians() -> Config:
    """Eight Gaussians on a circle, eight classes."""
    return _toy("8-gaussians")


def checkerboard() -> Config:
    """A checkerboard in the plane: sharp edges."""
    return _toy("checkerboard")


def tetrahedra() -> Config:
    """Four points of space, whatever their order and turn, by an equivariant network."""
    return replace(_toy("tetrahedra"), net="sets:width=64,blocks=3")


def phantoms() -> Config:
    """Volumes of 12x16x16, an ellipsoid with a ball in it, as a prior of CT."""
    return Config(
        muon(images=40_000, batch=32, lr=2e-3, warmup=2_000, checkpoint_every=10_000),
        DataConfig("phantoms"),
        "auto:width=24,multipliers=1-2,blocks=1,norms=1,fold=2,attention=()",
        sample=SampleConfig(steps=20),
    )


recipes: dict[str, Callable[[], Config]] = {
    {eight_gaussians: "8-gaussians"}.get(one, one.__name__.replace("_", "-")): one
    for one in (
        *(digits, digits_likelihood, digits_gan, digits_text, digits_prior, digits_decoder),
        *(digits_autoencoder, digits_latent),
        *(fashion_mnist, fashion_mnist_autoencoder, fashion_mnist_latent, restore_pairs),
        *(mnist, cifar10, cifar10_autoencoder, cifar10_latent, emoji, emoji_64),
        *(folder, npz, huggingface, points, letters, smiles, conformers, table),
        *(sounds, sounds_mel, series, moving_digits),
        *(swiss_roll, moons, eight_gaussians, checkerboard, tetrahedra, phantoms),
    )
}


def recipe(name: str) -> Config:
    """The recipe of that name."""
    if name not in recipes:
        raise unknown("recipe", name, recipes)
    return recipes[name]()
