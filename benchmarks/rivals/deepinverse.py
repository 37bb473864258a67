"""deepinv: its DPS, DiffPIR and DDRM, and the two of its guides that ours have too.

    ENV/bin/python -m benchmarks.rivals.deepinverse RUN WORK [SETTINGS]

Its pictures u lie in [0, 1] and its denoisers are D(u + sigma n, sigma), so that u = (x0 + 1)/2
and a sigma of u is half a ratio sigma/alpha of ours. Masks and the blur are its own `Inpainting`
and `BlurFFT`; the other operators are given to it by their singular values, with which its proximal
steps are exact too. Each of its methods makes as many network calls as ours. What is chosen from:
form and weight of the guidance (DPS), lambda and zeta (DiffPIR), eta and the first noise level
(DDRM; 1 is its default, even steps to 0, and the others geometric to .005), weights (the rest).
"""

# pyright: reportMissingImports=false

import sys
from pathlib import Path
from typing import Any

import deepinv
import numpy as np
import torch
from deepinv.models import Denoiser
from deepinv.optim.data_fidelity import L2
from deepinv.physics import BlurFFT, DecomposablePhysics, GaussianNoise, Inpainting
from deepinv.sampling import DDRM, DPS, DiffPIR, PosteriorDiffusion
from deepinv.sampling.diffusion_sde import VariancePreservingDiffusion
from deepinv.sampling.noisy_datafidelity import MomentMatchingDataFidelity, PiGDMDataFidelity
from deepinv.sampling.sde_solver import DDPMSolver
from torch import Tensor

from benchmarks.restore import NOISE, PEER, Case, Counted, Knobs, Method, grid, race
from scorefield.base import Level
from scorefield.inverse.operators import Blur, Mask
from scorefield.run.open import open_run


class Ours(Denoiser):
    """The denoiser of the run as one of deepinv's: the variance-preserving level of each ratio."""

    def __init__(self, denoise: Counted) -> None:
        super().__init__()
        self.denoise = denoise

    def forward(self, x: Tensor, sigma: Any, *_: Any, **__: Any) -> Tensor:
        ratio = 2 * torch.as_tensor(sigma, dtype=torch.float64).flatten()
        ratio = ratio[0] if ratio.numel() == 1 else ratio
        level = Level(1 / (1 + ratio**2).sqrt(), ratio / (1 + ratio**2).sqrt())
        alpha = level.like(x).alpha
        return (self.denoise(alpha * (2 * x - 1), level) + 1) / 2


def physics(c: Case) -> tuple[Any, Tensor]:
    """The operator and the measurement in its units: `A u = (A x0 + A 1)/2`, noise halved."""
    a, noise = c.a, GaussianNoise(NOISE / 2)
    y = (c.each + a(torch.ones(1, *a.shape))) / 2
    if isinstance(a, Mask):
        return Inpainting(a.shape, mask=a.known.float(), noise_model=noise), a.adjoint(y)
    if isinstance(a, Blur):
        middle = [n // 2 for n in a.shape[1:]]
        kernel = a.kernel.roll(middle, (0, 1)).float()[None, None]
        return BlurFFT(a.shape, filter=kernel, noise_model=noise), y
    singular, forward, backward, lift, drop = a.spectrum or a.dense().spectrum
    given = DecomposablePhysics(
        U=drop,
        U_adjoint=lift,
        V=backward,
        V_adjoint=forward,
        mask=singular.float()[None],
        img_size=a.shape,
        noise_model=noise,
    )
    return given, y


def restored(build: Any) -> Any:
    """`Restore` of one of its reconstructors: `build(denoiser, physics, calls, **knobs)`."""

    def restore(denoise: Counted, c: Case, calls: int, knobs: Knobs) -> Tensor:
        torch.manual_seed(0)
        np.random.seed(0)
        given, y = physics(c)
        u = build(Ours(denoise), calls, c.a.shape, **knobs)(y, given)
        return 2 * u - 1

    return restore


def dps(denoiser: Ours, calls: int, shape: tuple[int, ...], **knobs: Any) -> DPS:
    return DPS(denoiser, num_steps=calls + 1, rng=torch.Generator().manual_seed(0), **knobs)


def diffpir(denoiser: Ours, calls: int, shape: tuple[int, ...], **knobs: Any) -> Any:
    def build(y: Tensor, given: Any) -> Tensor:
        start = given.A_dagger(y) if y.shape[1:] != shape else None
        own = DiffPIR(denoiser, L2(), sigma=NOISE / 2, max_iter=calls, **knobs)
        return own(y, given, x_init=start)

    return build


def ddrm(denoiser: Ours, calls: int, shape: tuple[int, ...], first: float, **knobs: Any) -> DDRM:
    sigmas = np.linspace(1, 0, calls) if first == 1 else np.geomspace(first, 0.005, calls)
    return DDRM(denoiser, sigmas=sigmas, **knobs)


def guided(fidelity: Any) -> Any:
    def build(denoiser: Ours, calls: int, shape: tuple[int, ...], **knobs: Any) -> Any:
        steps = torch.linspace(1, 0, calls + 1, dtype=torch.float64)
        return PosteriorDiffusion(
            data_fidelity=fidelity(denoiser, **knobs),
            denoiser=denoiser,
            sde=VariancePreservingDiffusion(alpha=1.0),
            solver=DDPMSolver(steps, rng=torch.Generator().manual_seed(0)),
        )

    return build


METHODS = {
    "dps-published": Method(
        restored(dps),
        grid(guidance=("norm",), weight=(30.0, 100.0, 300.0, 1000.0))
        + grid(guidance=("annealed",), weight=(3.0, 10.0)),
        anew=True,
    ),
    "diffpir": Method(
        restored(diffpir), grid(lambda_=(7.0, 2.0, 0.5, 0.2), zeta=(0.3, 1.0)), anew=True
    ),
    "ddrm": Method(restored(ddrm), grid(eta=(0.85, 1.0, 0.7), first=(1.0, 5.0, 20.0)), anew=True),
    "pigdm": Method(restored(guided(PiGDMDataFidelity)), grid(weight=(1.0, 2.0, 4.0, 8.0))),
    "mmps": Method(restored(guided(MomentMatchingDataFidelity)), grid(weight=(1.0, 2.0))),
}

if __name__ == "__main__":
    print(PEER, deepinv.__version__, flush=True)
    race(open_run(sys.argv[1]), METHODS, PEER, *map(Path, sys.argv[2:]))
