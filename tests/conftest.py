"""One thread a test process: with several processes, two OpenMP teams fight over the cores."""

import torch

torch.set_num_threads(1)
