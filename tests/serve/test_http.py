"""The routes, as clients see them."""

import base64
import io
import json
import random
import threading
import time
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.cli import main
from scorefield.run.open import open_run
from scorefield.serve.body import EditBody, RestoreBody, SamplesBody
from scorefield.store import from_png
from scorefield.use.generate import generate


def picture(size: int = 8, mode: str = "L", value: int = 100) -> str:
    buffer = io.BytesIO()
    Image.new(mode, (size, size), value).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def message(response: httpx.Response, status: int = 422) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["message"].rstrip().endswith("."), error
    return error["message"]


def pixels(png: str) -> np.ndarray:
    return np.asarray(from_png(base64.b64decode(png)))


def test_samples_are_those_of_the_command_line(live, tmp_path):
    said = {"model": "digits", "seeds": [3, 9], "labels": [2, "7"], "steps": 5, "guidance": 2.0}
    answer = live.client.post("/v1/samples", json=said).json()
    assert [(s["seed"], s["label"]) for s in answer["samples"]] == [(3, "2"), (9, "7")]
    run, out = live.service.networks["digits"].run.path, tmp_path / "out"
    words = ["--seeds", "3,9", "--labels", "2,7", "--steps", "5", "--guidance", "2"]
    assert main(["sample", str(run), *words, "--out", str(out)]) == 0
    files = sorted(out.glob("*.png"))
    for sample, file in zip(answer["samples"], files):
        assert np.array_equal(pixels(sample["png"]), np.asarray(Image.open(file).convert("RGB")))


def test_a_picture_says_how_it_was_made_and_is_made_again(live, tmp_path):
    said = {"label": 4, "seed": 11, "solver": "heun", "steps": 3}
    (sample,) = live.client.post("/v1/samples", json=said).json()["samples"]
    (tmp_path / "one.png").write_bytes(base64.b64decode(sample["png"]))
    run = live.service.networks["digits"].run.path
    assert str(run.parent) not in Image.open(tmp_path / "one.png").info["scorefield"]
    words = ["--like", str(tmp_path / "one.png"), "--out", str(tmp_path / "two.png")]
    assert main(["sample", str(run), *words]) == 0
    assert np.array_equal(
        pixels(sample["png"]), np.asarray(Image.open(tmp_path / "two.png").convert("RGB"))
    )


def test_points_come_as_numbers(live):
    answer = live.client.post("/v1/samples", json={"model": "points", "n": 3, "seed": 5}).json()
    run = live.service.networks["points"].run
    x0 = generate(run.denoiser, seeds=[5, 6, 7], labels=[0, 1], steps=3)
    wanted = run.info.scaling.decode(x0)
    assert torch.equal(torch.tensor([s["x"] for s in answer["samples"]]), wanted.float())


def test_edits_and_masks(live):
    said = {"image": picture(20), "strength": 0.5, "n": 2, "steps": 4, "label": 3}
    assert len(live.client.post("/v1/edit", json=said).json()["samples"]) == 2
    half = Image.new("L", (8, 8))
    half.paste(255, (0, 0, 8, 4))
    buffer = io.BytesIO()
    half.save(buffer, "PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    said = {"image": picture(), "mask": mask, "steps": 6}
    answer = live.client.post("/v1/edit", json=said).json()
    assert "samples" in answer, answer
    (edited,) = answer["samples"]
    assert (pixels(edited["png"])[4:] == 100).all()
    assert (pixels(edited["png"])[:4] != 100).any()


def test_restorations(live):
    said = {"image": picture(), "operator": "box:2,2,4,4", "steps": 4, "n": 2, "method": "ddrm"}
    answer = live.client.post("/v1/restore", json=said).json()
    assert len(answer["samples"]) == 2
    assert pixels(answer["measurement"]).shape == (8, 8, 3)
    assert np.isfinite(answer["psnr"])


def test_between_two_seeds_are_samples_whose_ends_are_theirs(live):
    said = {"seeds": [1, 2], "label": 3, "solver": "ddim", "steps": 4}
    ends = live.client.post("/v1/samples", json=said).json()["samples"]
    strip = live.client.post("/v1/samples", json={**said, "between": 3}).json()["samples"]
    assert len(strip) == 5
    for one, other in zip((strip[0], strip[-1]), ends):
        far = np.abs(pixels(one["png"]).astype(int) - pixels(other["png"]))
        assert far.max() <= 1  # the arc rounds


def test_an_anagram_has_its_views(live):
    said = {"views": "identity,rot180", "labels": [3, 8], "n": 2, "steps": 3, "guidance": 2}
    answer = live.client.post("/v1/samples", json=said).json()
    assert [len(row) for row in answer["views"]] == [2, 2]
    upright, turned = (pixels(row[0]) for row in answer["views"])
    assert not np.array_equal(upright, turned)


def test_as_openai_asks(live):
    said = {"prompt": "3", "n": 2, "size": "8x8", "seed": 4}
    answer = live.client.post("/v1/images/generations", json=said).json()
    own = live.client.post("/v1/samples", json={"n": 2, "label": 3, "seed": 4}).json()
    assert [d["b64_json"] for d in answer["data"]] == [s["png"] for s in own["samples"]]
    said["response_format"] = "url"
    for i, place in enumerate(live.client.post("/v1/images/generations", json=said).json()["data"]):
        got = live.client.get(place["url"])
        assert got.headers["content-type"] == "image/png"
        assert got.content == base64.b64decode(own["samples"][i]["png"])


REFUSED = [
    ("samples", {"n": 0}, "`n` 0"), ("samples", {"n": True}, "`n` true"),
    ("samples", {"n": "3"}, "`n`"), ("samples", {"n": 65}, "`n` 65"),
    ("samples", {"stepz": 3}, "unknown field 'stepz'. Did you mean 'steps'?"),
    ("samples", {"model": "digitz"}, "Did you mean 'digits'?"),
    ("samples", {"solver": "hoin"}, "Did you mean"),
    ("samples", {"solver": "heun:chum=1"}, "churn"),
    ("samples", {"grid": "/etc/passwd"}, "not a place"),
    ("samples", {"grid": "../x.json"}, "place"),
    ("samples", {"solver": "heun@x.json/5"}, "`grid` is x.json. Give a name, not a place."),
    ("samples", {"average": 0.33}, "no average of length 0.33"),
    ("samples", {"average": 2}, "`average` 2"),
    ("samples", {"cascade": "digitz"}, "unknown model 'digitz'. Did you mean 'digits'?"),
    ("samples", {"cascade": "digits"}, "did not learn super-resolution"),
    ("samples", {"augment": 0.2}, "`augment` 0.2 does nothing: there is no `cascade`"),
    ("samples", {"fill": "a_"}, "`fill` a_ is of letters and tables. Leave it out."),
    ("samples", {"fill": [{"a": True}]}, "`fill."),
    ("samples", {"prompts": ["a"]}, "."),
    ("samples", {"prompts": ["a"], "prompt": "b"}, "."),
    ("samples", {"format": "text"}, "`format` text is of letters"),
    ("samples", {"views": "identity", "fill": "a"}, "`fill` a does nothing"),
    ("samples", {"guide": "autoguide"}, "needs its weak"), ("samples", {"label": 10}, "0 to 9"),
    ("samples", {"label": 1, "labels": [1]}, "exclude each other"),
    ("samples", {"prompt": "a cat"}, "unknown class 'a cat'"), ("samples", {"label": True}, "true"),
    ("samples", {"seed": 1, "seeds": [1]}, "exclude each other"),
    ("samples", {"seeds": [1, 2], "n": 3}, "2 seeds and `n` asks for 3"),
    ("samples", {"seed": -1}, "`seed` -1"), ("samples", {"steps": 1001}, "`steps` 1001"),
    ("samples", {"unconditional": True, "label": 3}, "exclude each other"),
    ("samples", {"unconditional": 1}, "`unconditional` 1"),
    ("samples", {"conditions": {"vector": [[1]]}}, "model takes label"),
    ("samples", {"conditions": {"label": [True]}}, "no rows of numbers"),
    ("samples", {"guidance": 1e300}, "`guidance`"), ("samples", {"precision": "bf16"}, "fp32"),
    ("samples", {"model": "points", "format": "png"}, "`format` png is of pictures"),
    ("samples", {"between": 3}, "`between` is given with 1 seed"),
    ("samples", {"views": "identity", "labels": [1, 2]}, "names 2 and `views` 1"),
    ("samples", {"priority": False}, "`priority`"),
    ("samples", {"guide": "classifier"}, "train-classifier"),
    ("edit", {"image": "%%%"}, "no base64"), ("edit", {"image": "aGVsbG8="}, "cannot be read"),
    ("edit", {}, "`image`"), ("edit", {"image": picture(), "strength": 0}, "`strength` 0"),
    ("edit", {"image": picture(5000)}, "5000 x 5000 pixels"),
    ("edit", {"image": picture(), "mask": picture(value=0)}, "black everywhere"),
    ("restore", {"image": picture(), "operator": "box"}, "takes"),
    ("restore", {"image": picture(), "operator": "box:2,2,4,4", "method": "x"}, "unknown"),
    ("restore", {"model": "points", "image": picture(), "operator": "pool:2"}, "."),
    ("images/generations", {"prompt": "3", "size": "64x64"}, "the run makes 8x8"),
    ("images/generations", {"prompt": "3", "style": "vivid"}, "unknown field 'style'"),
    ("images/generations", {"prompt": "3", "model": "points"}, "images are of pictures"),
]  # fmt: skip


@pytest.mark.parametrize("verb, body, says", REFUSED)
def test_what_cannot_be_is_refused_by_fact_and_remedy(live, verb, body, says):
    assert says in message(live.client.post(f"/v1/{verb}", json=body))


def test_a_fault_is_told_once_and_others_are_counted(live):
    """A body is read by more than one dependency of a route."""
    said = message(live.client.post("/v1/images/generations", json={"prompt": "3", "n": 11}))
    assert said == "`n` 11: Input should be less than or equal to 10. See /openapi.json."
    two = message(live.client.post("/v1/samples", json={"n": 0, "steps": 0}))
    assert "1 more fault. See" in two


def test_the_page_of_the_routes_says_how_they_end(live):
    paths = live.client.get("/openapi.json").json()["paths"]
    assert {"400", "404", "422", "429"} <= set(paths["/v1/requests/{number}"]["get"]["responses"])
    assert "202" in paths["/v1/samples"]["post"]["responses"]


JUNK: list[Any] = [
    None, True, -1, 0, 10**30, 1e308, "", "\0", "x" * 300, "Ω", [], {}, [[]], [None], {"a": 1},
    "heun:", ":", "(((", "a:b=c,d", "../..", [1] * 65, [2**63], {"y": [9]}, "1-2", "9" * 400,
]  # fmt: skip


def test_200_malformed_requests_never_break_anything(live):
    """Each field at random with what does not belong there, and bodies that are no JSON."""
    chance, seen = random.Random(0), []
    fields = [*SamplesBody.model_fields, *EditBody.model_fields, *RestoreBody.model_fields, "size"]
    for i in range(170):
        body = {chance.choice(fields): chance.choice(JUNK) for _ in range(chance.randint(1, 3))}
        verb = chance.choice(["samples", "edit", "restore", "images/generations", "samples/events"])
        body = {"image": picture(), "operator": "pool:2", "prompt": "3", **body} if i % 2 else body
        seen.append(live.client.post(f"/v1/{verb}", json=body, timeout=20))
    for content in (b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"n": NaN}', b"[" * 100_000):
        kinds = ("application/json", "text/plain", "multipart/form-data", "")
        seen += [live.client.post("/v1/samples", content=content, headers={"content-type": kind})
                 for kind in kinds]  # fmt: skip
    assert {r.status_code for r in seen} <= {200, 400, 413, 415, 422}
    assert len(seen) > 195
    assert sum(r.status_code != 200 for r in seen) > 150
    assert all("message" in r.json()["error"] for r in seen if r.status_code != 200)
    assert live.client.post("/v1/samples", json={"n": 1}).status_code == 200


def events(lines) -> list[tuple[str, Any]]:
    found, kind = [], ""
    for line in lines:
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            found.append((kind, json.loads(line[6:])))
    return found


def test_a_stream_of_steps_with_pictures_of_d(live):
    said = {"n": 2, "steps": 6, "previews": 3, "label": 1}
    with live.client.stream("POST", "/v1/samples/events", json=said) as response:
        found = events(response.iter_lines())
    assert [kind for kind, _ in found] == ["queued", *["step"] * 6, "done"]
    assert [data["step"] for kind, data in found if kind == "step"] == [*range(1, 7)]
    shown = {data["step"]: data["png"] for kind, data in found if "png" in data}
    assert set(shown) == {3, 6}
    assert all(len(pngs) == 2 for pngs in shown.values())
    last, answer = shown[6], found[-1][1]["samples"]
    assert [pixels(p).tolist() for p in last] == [pixels(s["png"]).tolist() for s in answer]


LONG = {"n": 64, "steps": 1000, "guidance": 2.0, "label": 3}


def waiting(live) -> list[dict]:
    return live.client.get("/v1/requests").json()


def until(true, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.02)


def under_way(live, place: str) -> dict[str, Any]:
    response = live.client.get(place)
    assert response.status_code == 202, response.text
    return response.json()


def test_a_client_that_leaves_takes_its_request_along(live):
    with live.client.stream("POST", "/v1/samples/events", json=LONG) as response:
        lines = response.iter_lines()  # held: it closes the response with it
        assert next(lines) == "event: queued"
        assert len(waiting(live)) == 1
    until(lambda: not waiting(live), 5)

    def impatient():
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{live.url}/v1/samples", json=LONG, timeout=2)

    thread = threading.Thread(target=impatient)
    thread.start()
    until(lambda: len(waiting(live)) == 1)
    thread.join()
    until(lambda: not waiting(live), 5)


def test_a_request_without_its_client_is_looked_at_and_stopped(live):
    begun = live.client.post("/v1/samples", json=LONG, headers={"prefer": "respond-async"})
    assert begun.status_code == 202
    place = f"/v1/requests/{begun.json()['id']}"
    until(lambda: under_way(live, place)["step"] > 2)
    (row,) = waiting(live)
    assert (row["of"], row["samples"], row["before"], row["state"]) == (1000, 64, 0, "running")
    with live.client.stream("GET", f"{place}/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "event: queued"
        assert live.client.delete(place).json()["state"] == "cancelled"
        assert events(lines)[-1][0] == "cancelled"
    assert "no such request" in message(live.client.get(place), 404)
    assert not waiting(live)


def test_an_answer_is_kept_and_a_key_is_asked_once(live):
    said, key = {"n": 1, "seed": 77, "label": 2}, {"Idempotency-Key": "again"}
    first = live.client.post("/v1/samples", json=said, headers=key)
    again = live.client.post("/v1/samples", json=said, headers=key)
    assert first.content == again.content
    assert live.client.get(f"/v1/requests/{first.json()['id']}").content == first.content
    other = live.client.post("/v1/samples", json={**said, "seed": 78}, headers=key)
    assert "that of another request" in message(other)


def test_a_deadline(live):
    assert "deadline has passed" in message(
        live.client.post("/v1/samples", json={**LONG, "deadline": 0.2}), 504
    )


def test_a_full_queue_says_when_to_come_again(live, monkeypatch):
    monkeypatch.setattr(live.service.batcher, "queue", 1)
    begun = live.client.post("/v1/samples", json=LONG, headers={"prefer": "respond-async"}).json()
    full = live.client.post("/v1/samples", json={"n": 1})
    assert "queue is full" in message(full, 429)
    assert 1 <= int(full.headers["retry-after"]) <= 120
    live.client.delete(f"/v1/requests/{begun['id']}")


def test_what_is_seen_of_the_server(live):
    assert live.client.get("/health").json() == {"status": "ok"}
    digits, points = live.client.get("/v1/models").json()["data"]
    one = live.client.get("/v1/models/points").json()
    for measured in ("seconds", "rows"):  # by each replica for itself
        assert type(one.pop(measured)) is type(points.pop(measured))
    assert one == points
    assert abs(points["created"] - time.time()) < 3600
    other = live.client.get("/v1/models/pints")
    assert message(other) == "unknown model 'pints'. Did you mean 'points'? Known: digits, points."
    assert other.json()["error"]["param"] == "model"
    assert (digits["id"], digits["shape"], points["shape"]) == ("digits", [1, 8, 8], [2])
    live.client.post("/v1/samples", json={"n": 1})
    text = live.client.get("/metrics").text
    assert 'scorefield_requests_total{model="digits",outcome="done",verb="samples"}' in text
    paths = live.client.get("/openapi.json").json()["paths"]
    assert {"/v1/samples", "/v1/edit", "/v1/restore", "/v1/images/generations"} <= set(paths)


def test_many_at_once_are_each_as_alone(live):
    """From threads: what they are told is what a server of their own would tell."""
    chance = random.Random(1)
    said = [{"seed": i, "label": i % 10, "steps": chance.randint(2, 12), "format": "x",
             "solver": chance.choice(["arc", "heun", "ddim:eta=1"]),
             "guidance": chance.choice([1.0, 3.0])} for i in range(24)]  # fmt: skip
    found: dict[int, list] = {}

    def ask(i: int) -> None:
        answer = httpx.post(f"{live.url}/v1/samples", json=said[i], timeout=60).json()
        found[i] = answer["samples"][0]["x"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(said))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = open_run(live.service.networks["digits"].run.path)
    for i, one in enumerate(said):
        settings = {key: one[key] for key in ("steps", "solver", "guidance")}
        x0 = generate(live.service.networks["digits"].denoise, seeds=[one["seed"]],
                      labels=[one["label"]], **settings)  # fmt: skip
        assert torch.equal(torch.tensor(found[i]), run.info.scaling.decode(x0)[0].float())
