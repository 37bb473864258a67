"""A model and what describes it are kept and opened as one."""

import json

import pytest
import torch
from torch import nn

from scorefield.base import BadInput
from scorefield.store import keep_model, open_model, write_json
from scorefield.store.digest import digest, short
from scorefield.store.files import to_bytes


def build(meta: dict) -> nn.Module:
    return nn.Linear(*meta["shape"])


def test_a_model_comes_back_with_what_describes_it(tmp_path):
    assert open_model(tmp_path, "judge", build, "Make it.") is None
    kept = nn.Linear(2, 3)
    keep_model(tmp_path, "judge", kept, {"shape": [2, 3], "accuracy": 0.5})
    found = open_model(tmp_path, "judge", build, "Make it.")
    assert found
    model, meta = found
    assert torch.equal(kept.weight, model.state_dict()["weight"])
    assert meta["accuracy"] == 0.5
    assert not any(p.requires_grad for p in model.parameters())
    legacy = {**meta, "weights": short(digest(to_bytes(kept.state_dict())))}
    write_json(tmp_path / "judge.json", legacy)  # as earlier versions wrote of a classifier
    assert open_model(tmp_path, "judge", build, "Make it.")


@pytest.mark.parametrize(
    "change, fact",
    [
        ({"weights": "0"}, "do not belong together. Make it."),
        ({"shape": [2]}, "does not describe a judge. Make it."),
        ({"shape": [3, 3]}, "tensors differ"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, change, fact):
    keep_model(tmp_path, "judge", nn.Linear(2, 3), {"shape": [2, 3]})
    file = tmp_path / "judge.json"
    content = {k: v for k, v in json.loads(file.read_text()).items() if k != "digest"}
    file.write_text(json.dumps({**content, **change}))
    with pytest.raises(BadInput, match=fact):
        open_model(tmp_path, "judge", build, "Make it.")
