"""Runs of every kind, of random weights: what is served, not how well it was learned."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from scorefield.data.info import DataInfo
from scorefield.run import recipes
from scorefield.run.autoencoder import build_autoencoder
from scorefield.run.config import build_denoiser
from scorefield.run.open import open_run
from scorefield.run.settings import Config, DataConfig, ObjectiveConfig, SampleConfig
from scorefield.run.stored import stored_settings, to_json
from scorefield.run.student import student
from scorefield.store import Folder, write_tensors
from scorefield.train import Training

TINY = "auto:width=8,multipliers=1,blocks=1"
SHORT = SampleConfig(steps=3)


def untrained(path: Path, config: Config, info: DataInfo | None = None) -> Path:
    """A run folder as training would leave it, but of random weights."""
    info = info or DataInfo.of(config.load_data())
    denoiser = build_denoiser(config, info)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for weight in denoiser.net.parameters():
            torch.nn.init.normal_(weight, std=0.08)
    folder = Folder(path)
    folder.keep_config(to_json(config, info))
    weights = denoiser.state_dict()
    folder.commit({"model": weights, "ema": weights, "optimizer": {}}, 1, folder.meaning())
    return path


def digits(path: Path) -> Path:
    return untrained(path, Config(data=DataConfig("digits"), net=TINY, sample=SHORT))


def of_arrays(path: Path, **arrays: np.ndarray) -> Path:
    """A run on an .npz of these arrays."""
    file = path.with_suffix(".npz")
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return untrained(path, Config(data=DataConfig("npz", str(file)), net=TINY, sample=SHORT))


def of_objective(path: Path, kind: str) -> Path:
    o = {
        "hybrid": ObjectiveConfig(kind, "ddpm"),
        "variational": ObjectiveConfig(kind, "learned", times="antithetic"),
        "bridge": ObjectiveConfig(kind, "flow"),
    }.get(kind, ObjectiveConfig(kind))
    return untrained(path, Config(data=DataConfig("digits"), net=TINY, objective=o, sample=SHORT))


def of_twice_the_size(path: Path) -> Path:
    """A second stage to `digits`."""
    x = shaped(1, 16, 16).clip(0, 1)
    np.savez(file := path.with_suffix(".npz"), x=x, y=np.arange(40) % 10)
    data = DataConfig("npz", str(file), low=8)
    return untrained(path, Config(data=data, net=TINY, sample=SHORT))


def averaged(path: Path, *lengths: float) -> None:
    """Averages of other lengths of its weights, each further from them."""
    weights = open_run(path).denoiser.state_dict()
    for k, length in enumerate(lengths, 1):
        moved = {name: w + 0.01 * k for name, w in weights.items()}
        write_tensors(path / "averages" / f"{length}.safetensors", moved)


def of_student(path: Path, method: str) -> Path:
    teacher = digits(path.parent / "teacher")
    config = student(teacher, method, training=Training())
    return untrained(path, config, stored_settings(Folder(teacher))[1])


def _of_recipe(
    path: Path, recipe: Config, file: Path, net: str, steps: int = 3, **data: str
) -> Path:
    """A run as a recipe sets it up, on that file, of a small network and few steps."""
    config = replace(
        recipe, data=replace(recipe.data, path=str(file), **data), net=net,
        sample=replace(recipe.sample, steps=steps),
    )  # fmt: skip
    return untrained(path, config)


TOKENS = "letters:width=16,depth=1,heads=2"


def letters(path: Path) -> Path:
    (file := path.with_suffix(".txt")).write_text("\n".join(["abad", "bcda", "cabb"] * 15))
    return _of_recipe(path, recipes.letters(), file, TOKENS)


def table(path: Path) -> Path:
    rows = [f"{'red' if k % 2 else 'blue'},{k % 7},one" for k in range(60)]
    (file := path.with_suffix(".csv")).write_text("\n".join(["colour,n,same", *rows]))
    return _of_recipe(path, recipes.table(), file, "cells:width=16,blocks=1")


def smiles(path: Path) -> Path:
    (file := path.with_suffix(".smi")).write_text("CCO\nc1ccccc1\nCC(=O)O\nClCC\n" * 15)
    return _of_recipe(path, recipes.smiles(), file, "causal:width=16,depth=1,heads=2", 9)


def on_manifold(path: Path, kind: str) -> Path:
    x = shaped({"sphere": 3, "torus": 2, "rotations": 4}[kind])
    x = x if kind == "torus" else x / np.linalg.norm(x, axis=1, keepdims=True)
    np.savez(file := path.with_suffix(".npz"), x=x)
    return _of_recipe(path, recipes.points(), file, "mlp:width=16,blocks=1", kind=kind)


SPACES: dict[str, Callable[[Path], Path]] = {
    "letters": letters, "smiles": smiles, "table": table,
    **{kind: partial(on_manifold, kind=kind) for kind in ("sphere", "torus", "rotations")},
}  # fmt: skip


def shaped(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)


KINDS: dict[str, Callable[[Path], Path]] = {
    "picture": digits,
    "vector": lambda path: of_arrays(path, x=shaped(3)),
    "series": lambda path: of_arrays(path, x=shaped(2, 16)),
    "volume": lambda path: of_arrays(path, x=shaped(1, 8, 8, 8)),
}
CONDITIONS: dict[str, Callable[[Path], Path]] = {
    "label": lambda path: of_arrays(path, x=shaped(3), y=np.arange(40) % 4),
    "vector": lambda path: of_arrays(path, x=shaped(3), vector=shaped(5)),
    "image": lambda path: of_arrays(path, x=shaped(1, 8, 8), image=shaped(2, 8, 8)),
    "tokens": lambda path: of_arrays(path, x=shaped(1, 8, 8), tokens=np.arange(120).reshape(40, 3)),
}
ROWS = {
    "label": {"label": [1, 3]}, "vector": {"vector": shaped(5)[:2].tolist()},
    "image": {"image": shaped(2, 8, 8)[:2].tolist()}, "tokens": {"tokens": [[1, 2, 3], [4, 5, 6]]},
}  # fmt: skip
"""Two rows of each condition, as a request says them."""


def of_autoencoder(path: Path, kind: str) -> Path:
    """An autoencoder, whose samples are those of its prior."""
    net = "mlp-autoencoder:width=8,latent=4"
    config = Config(data=DataConfig("digits"), net=net, objective=ObjectiveConfig(kind))
    info = DataInfo.of(config.load_data())
    folder, weights = Folder(path), build_autoencoder(config, info).state_dict()
    folder.keep_config(to_json(config, info))
    folder.commit({"model": weights, "ema": weights, "optimizer": {}}, 1, folder.meaning())
    return path
