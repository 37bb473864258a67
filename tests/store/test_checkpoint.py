"""Files that are whole or not there: kills, full disks, damage."""

import errno
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scorefield import store
from scorefield.base import BadInput
from scorefield.store import commit, load_checkpoint, read_json, read_tensors, write_bytes
from scorefield.store.digest import digest
from scorefield.store.files import DTYPES, in_file_order, to_bytes, write_each
from tests.refusal import refused

PARTS = ("model", "ema", "optimizer")


def parts(value: int) -> dict[str, dict[str, torch.Tensor]]:
    return {name: {"w": torch.full((4,), float(value + i))} for i, name in enumerate(PARTS)}


def save(run: Path, value: int) -> None:
    store.save_checkpoint(run, parts(value), {"images_seen": value})


def value_of(run: Path) -> int:
    """The value that a checkpoint was saved with, if all its parts are of one mind."""
    loaded, state = load_checkpoint(run, *PARTS)
    values = {int(tensors["w"][0]) - i for i, tensors in enumerate(loaded)}
    assert values == {state["images_seen"]}
    return state["images_seen"]


def killed_at(moment: int, run: Path, value: int, calls=("replace", "fsync")) -> bool:
    """Save in a child that kills itself before the n-th of these calls; whether it came to that."""
    child = os.fork()
    if not child:
        counted = 0

        def before(call):
            def stopping(*args, **keywords):
                nonlocal counted
                counted += 1
                if counted == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **keywords)

            return stopping

        for name in calls:
            setattr(os, name, before(getattr(os, name)))
        save(run, value)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    found, n, killed = [], 0, True
    while killed:
        n += 1
        run = tmp_path / str(n)
        save(run, 1)
        killed = killed_at(n, run, 2)
        found.append(value_of(run))
        save(run, 3)
        assert value_of(run) == 3
        assert not [p.name for p in run.iterdir() if p.suffix in (".tmp", ".next")]
    assert n > 12  # 3 parts and the state are flushed and renamed, 3 parts renamed again
    assert set(found) == {1, 2}
    assert found == sorted(found)  # before the commit the old one, after it the new one


def test_what_is_written_a_tensor_at_a_time_is_the_file(tmp_path):
    kinds = (torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8)
    some = {f"w.{kind}": torch.arange(6).view(2, 3).to(kind).T for kind in kinds}
    some |= {"one": torch.tensor(2.0), "none": torch.zeros(0, 3), "ß": torch.ones(3)[::2]}
    pieces = [some[name] for name in in_file_order(some)]
    for marks in (None, {"meaning": "x", "sha256": "y"}):
        told = write_each(tmp_path / "f", some, iter(pieces), marks)
        content = (tmp_path / "f").read_bytes()
        assert content == to_bytes(some, marks)
        assert told == digest(content)
    write_each(tmp_path / "f", some, reversed(pieces))  # the twin: in another order
    assert (tmp_path / "f").read_bytes() != to_bytes(some)


def save_shares(run: Path, value: int) -> None:
    """What two processes save together: a share of each, and what the main one has whole."""
    commit.finish_commit(run)
    digests = {}
    for rank, w in enumerate(torch.full((2, 4), float(value))):
        share = {commit.shard_name("model", rank, 2): {f"w{rank}": w}}
        digests |= commit.write_parts(run, share)
    digests |= commit.write_parts(run, {"ema": {"w": torch.tensor([float(value)])}})
    commit.commit_parts(run, digests, {"images_seen": value})


def shared_value(run: Path) -> int:
    (model, ema), state = load_checkpoint(run, "model", "ema")
    assert set(model) == {"w0", "w1"}
    values = {int(w[0]) for w in (*model.values(), *ema.values())}
    assert values == {state["images_seen"]}
    return state["images_seen"]


def test_a_kill_at_any_moment_leaves_all_shares_of_one_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "save", save_shares)
    found, n, killed = [], 0, True
    while killed:
        n += 1
        run = tmp_path / str(n)
        save_shares(run, 1)
        killed = killed_at(n, run, 2)
        found.append(shared_value(run))
        save_shares(run, 3)
        assert shared_value(run) == 3
        assert not [p.name for p in run.rglob("*") if p.suffix in (".tmp", ".next")]
    assert n > 12
    assert set(found) == {1, 2}
    assert found == sorted(found)


def test_shares_give_way_to_wholes_and_wholes_to_shares(tmp_path):
    store.save_checkpoint(tmp_path, parts(1), {"images_seen": 1})
    save_shares(tmp_path, 2)
    assert not (tmp_path / "model.safetensors").exists()
    (tmp_path / f"{commit.shard_name('model', 1, 2)}.safetensors").rename(tmp_path / "aside")
    refused("is missing", load_checkpoint, tmp_path, "model")
    store.save_checkpoint(tmp_path, parts(5), {"images_seen": 5})
    assert value_of(tmp_path) == 5
    assert not (tmp_path / "shards").exists()


def survives_two_kills(folder: Path) -> bool:
    """Whether a checkpoint is left after a kill at any rename of one save and of the next."""
    renames = ("replace",)
    for n in (4, 6):  # before the commit, and between the renames after it
        for m in range(1, 12):
            run = folder / f"{n}-{m}"
            save(run, 1)
            assert killed_at(n, run, 2, renames)
            before = value_of(run)
            assert before == (1 if n == 4 else 2)
            killed_at(m, run, 3, renames)
            try:
                assert value_of(run) in (before, 3)
            except BadInput:
                return False
    return True


def test_a_second_kill_at_any_rename_leaves_one_too(tmp_path):
    assert survives_two_kills(tmp_path)


def test_a_save_that_does_not_finish_the_last_one_would_lose_both(tmp_path, monkeypatch):
    """The twin: without step 0 of the protocol the same check fails."""
    monkeypatch.setattr(commit, "finish_commit", lambda run: None)
    assert not survives_two_kills(tmp_path)


def test_a_first_checkpoint_that_was_killed_is_not_one(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    assert killed_at(2, run, 1)
    refused(r"state\.json", load_checkpoint, run, "model")
    save(run, 2)
    assert value_of(run) == 2


def full_disk(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("at", range(1, 5))
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch, at):
    save(tmp_path, 1)
    real, calls = os.fsync, []

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            return real(handle)
        calls.append(handle)
        return full_disk() if len(calls) == at else real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    refused("No space left", save, tmp_path, 2)
    monkeypatch.undo()
    assert value_of(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["state.json", *(f"{name}.safetensors" for name in PARTS)]
    )
    save(tmp_path, 3)
    assert value_of(tmp_path) == 3


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    store.write_json(path, {"a": 1})
    for call in ("fsync", "replace"):
        monkeypatch.setattr(os, call, full_disk)
        refused(r"cannot write .*a\.json", write_bytes, path, b"new")
        monkeypatch.undo()
        assert (read_json(path), [p.name for p in tmp_path.iterdir()]) == ({"a": 1}, ["a.json"])


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a", b"new")
    assert not list(tmp_path.iterdir())


def test_a_place_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    refused("cannot write", write_bytes, tmp_path / "file" / "a", b"")


@pytest.mark.parametrize("text", ["", "{", "[1]", '"a"', "\xff", "[" * 100_000])
def test_damaged_json_is_named(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="latin-1")
    refused(r"a\.json", read_json, path)


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError):
        store.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_tensors_round_trip(tmp_path):
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.randn(3, 2).t(), "c": torch.tensor(1.5)}
    store.write_tensors(tmp_path / "t.safetensors", tensors)
    back = read_tensors(tmp_path / "t.safetensors")
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in tensors.items())


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_is_recognised_and_not_opened(tmp_path, legacy):
    path = tmp_path / "model.safetensors"
    torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=not legacy)
    refused("is a pickle", read_tensors, path)


def test_tensors_that_begin_like_a_pickle_are_read(tmp_path):
    """A header of 128 bytes is announced by the byte that announces a pickle's protocol."""
    path = tmp_path / "t.safetensors"
    tensors = {"counts": torch.arange(4), "losses": torch.zeros(4, 3, dtype=torch.float64)}
    write_bytes(path, to_bytes(tensors))
    assert (path.read_bytes()[0], read_tensors(path)["counts"].tolist()) == (0x80, [0, 1, 2, 3])


def cut_off(run: Path) -> None:
    path = run / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def alter(run: Path) -> None:
    path = run / "ema.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def state(**change: object) -> Callable[[Path], None]:
    def write(run: Path) -> None:
        path = run / "state.json"
        told = {k: v for k, v in json.loads(path.read_text()).items() if k != "digest"}
        path.write_text(json.dumps({**told, **change}))

    return write


DAMAGES = [
    (cut_off, "ema.safetensors is truncated"), (alter, "ema.safetensors is not the file"),
    (lambda run: (run / "ema.safetensors").unlink(), "ema.safetensors is missing"),
    (state(sha256={}), "model.safetensors"),
    *((state(images_seen=wrong), "state.json") for wrong in (None, -1, True, "3")),
    *((state(sha256=wrong), "state.json") for wrong in (None, [])),
]  # fmt: skip


@pytest.mark.parametrize("damage, says", DAMAGES)
def test_damage_is_named(tmp_path, damage, says):
    save(tmp_path, 1)
    damage(tmp_path)
    refused(says.replace(".", r"\."), load_checkpoint, tmp_path, *PARTS)


def test_a_commit_while_reading_is_read_again(tmp_path, monkeypatch):
    save(tmp_path, 1)
    real, reads = commit._map_of, []

    def read(path):
        reads.append(path)
        if len(reads) == 1:
            save(tmp_path, 2)
        return real(path)

    monkeypatch.setattr(commit, "_map_of", read)
    assert value_of(tmp_path) == 2


def mapped_of(x: torch.Tensor) -> str:
    """The file that the memory of a tensor is a map of, or nothing."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, file = f"{line} ".split(" ", 5)
        first, end = (int(address, 16) for address in span.split("-"))
        if first <= x.data_ptr() < end:
            return file.strip()
    raise AssertionError("no memory of this process")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="of Linux")
def test_a_part_is_read_where_it_lies(tmp_path):
    """Of 64 MiB no copy is made, and the file stays as it is whatever is done to the tensors. The
    twin reads them into memory."""
    store.save_checkpoint(tmp_path, {"model": {"w": torch.rand(2**24)}}, {"images_seen": 1})
    (part,), _ = load_checkpoint(tmp_path, "model")
    whole = read_tensors(tmp_path / "model.safetensors")
    assert mapped_of(part["w"]) == str(tmp_path / "model.safetensors")
    assert not mapped_of(whole["w"]).startswith("/")
    part["w"].zero_()
    assert not whole["w"].equal(part["w"])
    assert load_checkpoint(tmp_path, "model")[0][0]["w"].equal(whole["w"])


def test_every_type_is_read_as_it_was_written(tmp_path):
    some = {str(kind): torch.ones(3, 2, dtype=kind) for kind in DTYPES}
    some |= {"one": torch.tensor(7), "none": torch.zeros(0, 4), "é": torch.ones(1)}
    store.save_checkpoint(tmp_path, {"model": some}, {"images_seen": 1})
    (found,), _ = load_checkpoint(tmp_path, "model")
    assert found.keys() == some.keys()
    for name, value in some.items():
        assert found[name].dtype == value.dtype
        assert found[name].equal(value)
