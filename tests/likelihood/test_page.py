"""The page on likelihoods runs as it stands."""

import re
from pathlib import Path

import torch

torch.set_num_threads(1)
PAGE = Path(__file__).parents[2] / "docs" / "likelihood.md"


def test_the_example():
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)[0], names)
    truth = names["data"].log_prob(names["x0"])
    torch.testing.assert_close(names["exact"].log_prob, truth, atol=1e-4, rtol=0)
    for found in (names["probed"], names["bound"], names["steps"]):
        gap, error = (
            (found.log_prob - truth).mean(),
            found.stderr.square().mean().sqrt() / 1000**0.5,
        )
        assert float(gap) < 3 * float(error) + 1e-3
