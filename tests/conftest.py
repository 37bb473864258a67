"""One thread a test process: with several processes, two OpenMP teams fight over the cores. And
Ctrl-C as a terminal has it: a shell gives its background jobs one that they must ignore."""

import signal

import torch

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
