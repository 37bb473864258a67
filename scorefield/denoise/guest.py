"""The denoiser of a network that another program trained: by the settings of that program."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from scorefield.base import BadInput, unknown
from scorefield.data.readers.pipeline import encoder
from scorefield.denoise.precondition import Manner
from scorefield.denoise.timed import (
    Boundary,
    Chain,
    Convention,
    Direct,
    Exploding,
    Karras,
    Running,
    Straight,
    Timed,
    convention_of,
)
from scorefield.nets.edm2 import Edm2UNet
from scorefield.nets.graph import Graph
from scorefield.nets.guests import Guest
from scorefield.nets.kdiff import ImageV1
from scorefield.nets.kformer import TransformerV1, TransformerV2
from scorefield.nets.labelled import Labelled
from scorefield.nets.song import USUAL, EdmUNet
from scorefield.process import EDM, VE, VP, Flow, Schedule, published_chain

CHAINS = (
    "DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "LMSDiscreteScheduler",
    "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler",
    "DDIMInverseScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler",
    "DPMSolverSDEScheduler", "SASolverScheduler", "IPNDMScheduler",
)  # fmt: skip
FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
EDMS = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
DENOISER = "Denoiser"
"""Of k-diffusion: Karras' preconditioning."""
PRECONDITIONED = ("EDMPrecond", "VPPrecond", "VEPrecond", "Precond", DENOISER)
FILED = {
    **dict.fromkeys(USUAL, EdmUNet), "UNet": Edm2UNet, "image_v1": ImageV1,
    "image_transformer_v1": TransformerV1, "image_transformer_v2": TransformerV2,
}  # fmt: skip
"""Networks under the names of files: `kind(name, settings)`."""
CONSISTENCY = "CMStochasticIterativeScheduler"
DIRECT = "Direct"
"""Of what says D itself."""
VIEWS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
ENDS = "jump:fresh=1@angle:sigma_data=0.5/1"
"""How a consistency model is sampled: from noise at once."""


class Published(NamedTuple):
    """What a scheduler's settings say: the process, how the network is told it, what it says."""

    schedule: Schedule
    convention: Convention
    view: str
    manner: Manner | None = None


def published(scheduler: Mapping[str, Any]) -> Published:
    """Read a scheduler's settings as diffusers writes them. Raises BadInput, by name, for a class
    or a setting that means something that cannot be honoured."""
    name = scheduler.get("_class_name")
    said = scheduler.get("prediction_type", "epsilon")
    if name in FLOWS or scheduler.get("use_flow_sigmas") or said == "flow_prediction":
        _only(scheduler, "invert_sigmas", False)
        _only(scheduler, "num_train_timesteps", 1000)
        return Published(Flow(), Straight(), "flow")
    if name == DIRECT:
        return Published(_edm(scheduler), Direct(), "x0")
    if name in EDMS:
        if said not in ("epsilon", "v_prediction"):
            raise unknown("prediction_type", str(said), ("epsilon", "v_prediction"))
        sign = 1 if said == "epsilon" else -1
        return Published(_edm(scheduler), Karras(_size(scheduler, "sigma_data", 0.5), sign), "edm")
    if name in ("EDMPrecond", "Precond", DENOISER):
        return Published(_edm(scheduler), Karras(_size(scheduler, "sigma_data", 0.5)), "edm")
    if name == "VPPrecond":
        least = _size(scheduler, "beta_min", 0.1)
        process = VP(least, least + _size(scheduler, "beta_d", 19.9))
        return Published(process, Running(process, _size(scheduler, "M", 1000.0) - 1), "eps")
    if name == "VEPrecond":
        process = VE(_size(scheduler, "sigma_min", 0.02), _size(scheduler, "sigma_max", 100.0))
        return Published(process, Exploding(), "eps")
    if name == CONSISTENCY:
        schedule = _edm(scheduler)
        convention = Boundary(_size(scheduler, "sigma_data", 0.5), schedule.sigma_min)
        return Published(schedule, convention, "edm", Manner(ENDS, learned="ends"))
    if name not in CHAINS:
        raise unknown(
            "scheduler", str(name), (*CHAINS, *FLOWS, *EDMS, *PRECONDITIONED, CONSISTENCY)
        )
    _only(scheduler, "timestep_type", "discrete")
    if said not in VIEWS:
        raise unknown("prediction_type", str(said), VIEWS)
    chain = published_chain(scheduler)
    if said == "epsilon" and float(chain.abar[-1]) == 0:
        raise BadInput(
            "the scheduler predicts epsilon and has a terminal SNR of 0, where epsilon says "
            "nothing about x0.",
            "Set rescale_betas_zero_snr false, if it was trained so.",
        )
    return Published(chain, Chain(chain, VIEWS[said]), VIEWS[said])


def _only(scheduler: Mapping[str, Any], key: str, value: Any) -> None:
    if scheduler.get(key, value) != value:
        raise BadInput(
            f"the scheduler has {key} {scheduler[key]!r}, which cannot be honoured here.",
            f"Only {value!r} can.",
        )


def _size(scheduler: Mapping[str, Any], key: str, usual: float) -> float:
    value = scheduler.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise BadInput(f"the scheduler has {key} {value!r}.", "It must be a positive number.")
    return float(value)


def _edm(scheduler: Mapping[str, Any]) -> EDM:
    return EDM(_size(scheduler, "sigma_min", 0.002), _size(scheduler, "sigma_max", 80.0))


def guest_of(
    network: Mapping[str, Any], dtype: str = "float32", null: int | None = None,
    text: Mapping[str, Any] | None = None, empty: Mapping[str, Sequence[int]] | None = None,
) -> nn.Module:  # fmt: skip
    """The network that settings describe, with fresh weights of their own dtype: `null` is the
    class that stands for none, `text` are the settings of its text encoder, and `empty` the shapes
    of conditions that stand for none."""
    kind = network.get("_class_name", "none")
    if kind == "Graph":
        own = {k: v for k, v in network.items() if k != "_class_name"}
        return Graph(**{**own, "shape": tuple(own["shape"])})
    if kind in FILED:
        return Labelled(FILED[kind](kind, network))
    net = Guest(kind, network, null, encoder(text) if text else None, empty or {})
    nn.Module.to(net.model, dtype=getattr(torch, dtype))  # theirs warns in any case
    return net


def guest_denoiser(
    net: nn.Module, scheduler: Mapping[str, Any], sigma_data: float, **about: Any
) -> Timed:
    """The denoiser of a guest by the settings of its scheduler. `about` is what a Denoiser says of
    itself."""
    said = published(scheduler)
    variance = bool(getattr(net, "doubled", False))
    denoiser = Timed(
        net, said.convention, sigma_data, said.view, schedule=said.schedule,
        **{**about, "variance": variance},
    )  # fmt: skip
    denoiser.manner = said.manner
    return denoiser


def timed(net: Any, schedule: Schedule, view: str, sigma_data: float, **about: Any) -> Timed:
    """A network that is told a timestep, as a denoiser on a schedule that it has one of."""
    convention = convention_of(schedule, view, sigma_data)
    return Timed(cast(Any, net), convention, sigma_data, view, schedule=schedule, **about)
