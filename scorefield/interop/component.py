"""Any run as a component of a pipeline of diffusers: v on a chain whose end is pure noise.

D sees a level up to a common factor of (alpha, sigma), so a model of any schedule has a prediction
at every level of any other. On a variance-preserving level it is

    v = alpha eps - sigma D = (alpha x - D) / sigma,                                         (eq. 1)

finite in pure noise, where it is -D. The folder needs this class to be read: `scorefield` must be
installed where it is opened.
"""

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor

from scorefield.process import DiscreteVP, cosine_betas, zero_terminal_snr
from scorefield.run.config import build_denoiser
from scorefield.run.stored import from_json

CHAIN = DiscreteVP(zero_terminal_snr(cosine_betas(1000)))
"""Of the scheduler that is saved beside it, as its `trained_betas`."""


class ScorefieldModel(ModelMixin, ConfigMixin):
    """A run as the `unet` of a pipeline that predicts v. `run` is the content of its config.json.

    `class_labels` are the run's classes; without any, samples are unconditional.
    """

    @register_to_config
    def __init__(self, run: dict[str, Any], sample_size: Any = None, in_channels: int = 3) -> None:
        super().__init__()
        self.denoiser = build_denoiser(*from_json(dict(run), "the exported run"))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """v of x at a step of the chain `(B, C, H, W)`; timesteps between steps may be asked."""
        t = torch.as_tensor(timestep, dtype=torch.float64).to("cpu").expand(sample.shape[0])
        level = CHAIN((t + 1) / CHAIN.steps)
        cond = None if class_labels is None else {"label": class_labels}
        denoised = self.denoiser(sample, level, cond)
        alpha, sigma = level.like(sample)
        v = (alpha * sample - denoised) / sigma
        return UNet2DOutput(sample=v) if return_dict else (v,)
