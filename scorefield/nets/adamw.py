"""AdamW where nothing compiles an optimiser: torch wraps its own for its compiler, and imports that
(1.2 s) at the first call."""

import inspect
from typing import Any

import torch
from torch.optim.optimizer import Optimizer


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, its methods as they were before they were wrapped."""

    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    zero_grad: Any = inspect.unwrap(Optimizer.zero_grad)
    add_param_group: Any = inspect.unwrap(Optimizer.add_param_group)
    state_dict: Any = inspect.unwrap(Optimizer.state_dict)
    load_state_dict: Any = inspect.unwrap(Optimizer.load_state_dict)
