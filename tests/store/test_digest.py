"""A file that carries its digest cannot change unseen."""

import json
import random

import pytest
import torch

from scorefield.base import BadInput
from scorefield.store import read_json, read_tensors, write_bytes, write_json, write_tensors
from scorefield.store.digest import digest_tensors
from scorefield.store.files import meaning_of, to_bytes

TENSORS = {
    "w": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)),
    "count": torch.tensor(7),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.empty(0, 2),
}
FACTS = {"images_seen": 128, "error": 0.25, "cells": [1, 2, 3], "name": "rk4", "trace": None}


def flipped(content: bytes, times: int) -> list[bytes]:
    """The content with one bit changed, at so many places."""
    chance = random.Random(0)
    found = []
    for _ in range(times):
        at, changed = chance.randrange(len(content)), bytearray(content)
        changed[at] ^= 1 << chance.randrange(8)
        found.append(bytes(changed))
    return found


def passed_unseen(path, read, truth) -> int:
    """How many flips are read as something else than the truth."""
    whole, unseen = path.read_bytes(), 0
    for content in flipped(whole, 400):
        path.write_bytes(content)
        try:
            unseen += not same(read(path), truth)
        except BadInput:
            continue
    return unseen


def same(a, b) -> bool:
    """Whether all of b is in a."""
    return all(k in a and bool(torch.equal(a[k], b[k]) if torch.is_tensor(b[k]) else a[k] == b[k])
               for k in b)  # fmt: skip


def test_no_bit_of_tensors_flips_unseen(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, TENSORS, "meant")
    assert same(read_tensors(path), TENSORS)
    assert (meaning_of(path), passed_unseen(path, read_tensors, TENSORS)) == ("meant", 0)


def test_no_bit_of_facts_flips_unseen(tmp_path):
    path = tmp_path / "info.json"
    assert (write_json(path, FACTS), read_json(path)) == (json.loads(path.read_text()), FACTS)
    assert passed_unseen(path, read_json, FACTS) == 0


def test_planted_files_without_digests_change_unseen(tmp_path):
    path = tmp_path / "t.safetensors"
    write_bytes(path, to_bytes(TENSORS))
    assert same(read_tensors(path), TENSORS)  # as earlier versions wrote them
    assert passed_unseen(path, read_tensors, TENSORS) > 20
    path = tmp_path / "info.json"
    write_json(path, FACTS, seal=False)
    assert read_json(path) == FACTS
    assert passed_unseen(path, read_json, FACTS) > 20


def test_what_was_altered_is_named_with_a_remedy(tmp_path):
    path = tmp_path / "info.json"
    write_json(path, FACTS)
    path.write_text(path.read_text().replace("128", "129"))
    with pytest.raises(BadInput, match=r"info.json does not hold .* it was altered\. Restore it"):
        read_json(path)


def test_the_digest_is_of_names_types_shapes_and_numbers():
    w = TENSORS["w"]
    assert digest_tensors({"a": w, "b": w}) == digest_tensors({"b": w.clone(), "a": w})
    one = torch.ones(1).expand(1)[:1].as_strided((1,), (0,))
    assert digest_tensors({"a": one}) == digest_tensors({"a": torch.ones(1)})
    others = ({"b": w}, {"a": w.double()}, {"a": w.T}, {"a": -w}, {"a": w.flatten()})
    assert digest_tensors({"a": w}) not in [digest_tensors(other) for other in others]
