"""A fitted grid as JSON: the same to the last bit, and read with suspicion."""

import dataclasses
import json

import pytest
import torch

from scorefield.base import BadInput
from scorefield.tune import FittedGrid

GRID = FittedGrid(
    alpha=(0.0, 1 / 3, 0.7, 1.0),
    sigma=(1.0, 0.9**0.5, 0.1**0.5, 0.0),
    stretch=(1.0, 1.1, 2 / 3),
    solver="dpmpp2m",
    schedule="cosine",
    error=0.1,
    median=0.05,
    before="karras",
    error_before=0.3,
    median_before=0.1,
    starts=64,
    seed=0,
    guidance=1.4,
    seconds=2.5,
)


def check_round_trip(back) -> None:
    content = json.loads(json.dumps(GRID.to_json(), allow_nan=False))
    again = back(content)
    for a, b in zip(again.levels, GRID.levels):
        assert torch.equal(a, b)
        assert a.dtype == torch.float64
    assert dataclasses.asdict(again) == dataclasses.asdict(GRID)


def test_json_gives_the_same_numbers():
    check_round_trip(lambda content: FittedGrid.from_json(content, "grid.json"))


def test_planted_rounding():
    def rounded(content):
        content["alpha"] = [float(torch.tensor(v, dtype=torch.float32)) for v in content["alpha"]]
        return FittedGrid.from_json(content, "grid.json")

    with pytest.raises(AssertionError):
        check_round_trip(rounded)


@pytest.mark.parametrize(
    "change, fact",
    [
        ({"schema": 2}, "schema 2, this Scorefield reads 1"), ({"schema": None}, "schema None"),
        ({"schema": True}, "schema True"),
        ({"alpha": [0.0, 0.5, 1.0]}, "3 alphas, 4 sigmas and 3 stretches"),
        ({"alpha": "much"}, "alpha is 'much'"),
        ({"sigma": [1.0, None, 0.1, 0.0]}, "grid.json: sigma.1 is None"),
        ({"sigma": [1.0, float("nan"), 0.1, 0.0]}, "sigma.1 is nan, not a finite"),
        ({"sigma": [1.0, 0.1, 0.9, 0.0]}, "do not fall in noise"),
        ({"sigma": [1.0, 0.9, -0.1, 0.0]}, "do not fall in noise"),
        ({"alpha": [0.0] * 4, "sigma": [0.0] * 4}, "do not fall in noise"),
        ({"stretch": []}, "0 stretches"), ({"steps": 7}, "steps is 7 and the levels make 3"),
        ({"solver": 3}, "solver is 3"),
        ({"stretches": []}, "grid.json has an unknown field 'stretches'"),
        ({"error": "small"}, "error is 'small'"), ({"seed": 1.5}, "seed is 1.5"),
        ({"guidance": "much"}, "guidance is 'much'"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_with_its_name(change, fact):
    with pytest.raises(BadInput) as error:
        FittedGrid.from_json({**GRID.to_json(), **change}, "grid.json")
    assert error.value.fact.startswith("grid.json")
    assert fact in error.value.fact
    assert error.value.remedy


def test_no_guidance_is_none():
    content = dataclasses.replace(GRID, guidance=None).to_json()
    assert FittedGrid.from_json(content, "grid.json").guidance is None
