"""The routes: native ones, those of OpenAI's images, and what is seen of the server."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

import scorefield
from scorefield.base import BadInput, unknown
from scorefield.catalogue.describe import first_lines
from scorefield.report.html import html
from scorefield.report.overview import overview
from scorefield.serve.batcher import ENDS, Busy, Late, Ticket
from scorefield.serve.body import Fault, ImagesBody
from scorefield.serve.guard import fault
from scorefield.serve.network import Network
from scorefield.serve.seen import averages, losses, nearest_in_training, second_stages
from scorefield.serve.service import BODIES, Service, Together
from scorefield.serve.work import shown_now
from scorefield.store.files import last_written

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
Prefer = Annotated[str | None, Header(max_length=100)]
PAGE = Path(__file__).parent / "page"
ALONE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""A report has all it needs in itself."""
ENDS_BADLY: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "model": Fault}
    for status, words in {
        400: "The body is no JSON.", 401: "The token is missing.",
        403: "A page of another origin asks.", 404: "There is no such thing, or no more.",
        410: "The request was stopped.", 413: "The body is too large.",
        421: "The host is another.", 422: "It cannot be done: fact and remedy.",
        429: "The queue is full, or its client asks too often: Retry-After says until when.",
        504: "The deadline has passed.",
    }.items()
}  # fmt: skip
"""Of every route."""
POLL = 0.25
"""Seconds between two looks whether a client is still there."""


def routes(service: Service) -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="Scorefield", version=scorefield.__version__, docs_url=None, redoc_url=None,
        lifespan=life, responses=ENDS_BADLY,
    )  # fmt: skip
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (BadInput, Busy, Late, StarletteHTTPException, Exception):
        app.add_exception_handler(kind, _failed)
    for verb, body in BODIES.items():
        _add(app, service, verb, body)
    _add_requests(app, service)
    _add_images(app, service)
    _add_views(app, service)
    return app


def _add(app: FastAPI, service: Service, verb: str, kind: Any) -> None:
    """POST of a verb: its answer, or with `Prefer: respond-async` its number at once; and the same
    as a stream of events."""

    def ticket(body: kind, key: Key = None) -> Ticket | bytes:  # type: ignore[valid-type]
        return service.accept(verb, body, key)

    async def ask(
        request: Request,
        taken: Annotated[Ticket | bytes, Depends(ticket)],
        key: Key = None,
        prefer: Prefer = None,
    ) -> Response:
        if isinstance(taken, Ticket) and prefer == "respond-async":
            return JSONResponse(service.status(taken), 202)
        return await _answered(service, taken, request, stays=key is not None)

    async def heard(body: kind, key: Key = None) -> tuple[Ticket | bytes, _Ear]:  # type: ignore[valid-type]
        ear = _Ear()
        return await asyncio.to_thread(service.accept, verb, body, key, ear), ear

    async def stream(
        taken: Annotated[tuple[Ticket | bytes, _Ear], Depends(heard)], key: Key = None
    ) -> AsyncIterator[ServerSentEvent]:
        async for event in _events(service, *taken, stays=key is not None):
            yield event

    later: Any = {202: {"description": "It has begun: its number."}}
    words = kind.__doc__
    app.post(f"/v1/{verb}", summary=words, responses=later, response_model=None)(ask)
    app.post(f"/v1/{verb}/events", summary=f"{words} As a stream.",
             response_class=EventSourceResponse)(stream)  # fmt: skip


async def _answered(
    service: Service, taken: Ticket | bytes, request: Request, stays: bool
) -> Response:
    """The answer when it is there. A client that leaves takes its request along, unless this is one
    that `stays`."""
    if isinstance(taken, bytes):
        return Response(taken, media_type="application/json")
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    taken.listeners.append(lambda kind, what: kind in ENDS and loop.call_soon_threadsafe(ended.set))
    try:
        while taken.state not in ENDS:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), POLL)
            if taken.state not in ENDS and not stays and await request.is_disconnected():
                break
    finally:  # also of a route that is cancelled with its client
        if not stays:
            service.batcher.cancel(taken)
    if taken.state == "done":
        return Response(taken.outcome, media_type="application/json")
    return _failed(request, taken.outcome)


class _Ear:
    """Listens to a ticket, from its thread, for a coroutine."""

    def __init__(self) -> None:
        self.queue, self.loop = asyncio.Queue[tuple[str, Any]](), asyncio.get_running_loop()

    def __call__(self, kind: str, what: Any) -> None:
        self.loop.call_soon_threadsafe(self.queue.put_nowait, (kind, what))


async def _events(
    service: Service, taken: Ticket | bytes, ear: _Ear, stays: bool
) -> AsyncIterator[ServerSentEvent]:
    """`queued`, `step` after each, with pictures of D where they are wanted, and one of `done`,
    `failed` and `cancelled`."""
    if isinstance(taken, bytes):
        yield ServerSentEvent(event="done", data=json.loads(taken))
        return
    if ear not in taken.listeners:
        taken.listeners.append(ear)
        if taken.state in ENDS:
            ear(taken.state, taken.outcome)
    every, steps = taken.request["previews"], taken.steps
    try:
        yield ServerSentEvent(event="queued", data=service.status(taken))
        while True:
            kind, what = await ear.queue.get()
            if kind == "step":
                k, run, d = what
                data: Any = {"step": k, "of": steps}
                if every and d is not None and (k % every == 0 or k == steps):
                    data |= await asyncio.to_thread(shown_now, run, d)
            elif kind == "done":
                data = json.loads(what)
            else:
                data = json.loads(bytes(_failed(None, what).body))
            yield ServerSentEvent(event=kind, data=data)
            if kind in ENDS:
                return
    finally:
        taken.listeners.remove(ear)
        if not stays:
            service.batcher.cancel(taken)


def _add_requests(app: FastAPI, service: Service) -> None:
    def shown_in(answer: dict[str, Any], index: int, form: str) -> bytes:
        samples = answer.get("samples", [])
        if not 0 <= index < len(samples) or form not in samples[index]:
            raise HTTPException(404, "there is no such picture or sound, or it is kept no more.")
        return base64.b64decode(samples[index][form])

    def ticket(number: str) -> Ticket:
        if number not in service.tickets:
            raise HTTPException(404, "there is no such request, or its answer is kept no more.")
        return service.tickets[number]

    @app.get("/v1/requests", summary="What waits and what is under way, by turn.")
    def waiting() -> list[dict[str, Any]]:
        found = [row for queue in service.everywhere("queue") for row in queue]
        return sorted(found, key=lambda row: row["before"])

    @app.get("/v1/requests/{number}", summary="How far a request is, or its answer.")
    async def progress(number: str) -> Response:
        if answer := service.shelf.get(number):
            return Response(answer, media_type="application/json")
        return JSONResponse(service.status(ticket(number)), 202)

    @app.delete("/v1/requests/{number}", summary="Stop a request at its next step.")
    async def stop(number: str) -> dict[str, str]:
        found = ticket(number)
        service.batcher.cancel(found)
        return {"id": found.id, "state": found.state}

    @app.get("/v1/requests/{number}/events", response_class=EventSourceResponse,
             summary="The events of a request from now on.")  # fmt: skip
    async def stream(taken: Annotated[Ticket, Depends(ticket)]) -> AsyncIterator[ServerSentEvent]:
        async for event in _events(service, taken, _Ear(), stays=True):
            yield event

    @app.get("/v1/requests/{number}/{index}/nearest",
             summary="The pictures of the training data nearest to one of an answer.")  # fmt: skip
    def nearest_to(number: str, index: int) -> list[dict[str, Any]]:
        answer = json.loads(service.shelf.get(number) or b"{}")
        return nearest_in_training(
            service.network(answer.get("model")).run, shown_in(answer, index, "png")
        )

    @app.get("/v1/requests/{number}/{index}.{form}", summary="A picture or sound of an answer.")
    async def shown(number: str, index: int, form: Literal["png", "wav"]) -> Response:
        content = shown_in(json.loads(service.shelf.get(number) or b"{}"), index, form)
        return Response(content, media_type={"png": "image/png", "wav": "audio/wav"}[form])


def _add_images(app: FastAPI, service: Service) -> None:
    def ticket(body: ImagesBody, key: Key = None) -> Ticket | bytes:
        network = service.network(body.model)
        return service.accept("samples", body.samples(network.run), key)

    @app.post("/v1/images/generations", response_model=None,
              summary="As clients of OpenAI ask for pictures.")  # fmt: skip
    async def images(
        body: ImagesBody, request: Request, taken: Annotated[Ticket | bytes, Depends(ticket)],
        key: Key = None,
    ) -> Response:  # fmt: skip
        response = await _answered(service, taken, request, stays=key is not None)
        if response.status_code != 200:
            return response
        answer, place = json.loads(bytes(response.body)), str(request.base_url)
        data = [{"b64_json": sample["png"]} for sample in answer["samples"]]
        if body.response_format == "url":
            where = f"{place}v1/requests/{answer['id']}"
            data = [{"url": f"{where}/{i}.png"} for i in range(len(data))]
        return JSONResponse({"created": answer["created"], "data": data})


def _add_views(app: FastAPI, service: Service) -> None:
    @app.get("/health", summary="Whether the server is there.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", summary="Counts for Prometheus.", response_class=PlainTextResponse)
    def metrics() -> Response:
        counts: Any = Together(service.everywhere("counts"))
        return Response(generate_latest(counts), media_type=CONTENT_TYPE_LATEST)

    def described(network: Network) -> dict[str, Any]:
        run = network.run
        return {
            "id": network.name, "object": "model", "owned_by": "scorefield",
            "created": int(last_written(run.path / "config.json")),
            "kind": run.info.kind.name, "space": run.info.space,
            "shape": list(run.info.shape), "classes": list(run.info.classes),
            "columns": [column.name for column in run.info.columns],
            "reads": run.info.text and run.info.text.encoder,
            "conditions": run.info.conditions.sizes, "precision": run.denoiser.precision,
            "averages": averages(run), "cascades": second_stages(run, service.networks),
            "settings": vars(run.config.sample), "images_seen": run.images_seen,
            "rows": network.limit, "seconds": network.costs,
        }  # fmt: skip

    @app.get("/v1/models", summary="The runs that are served.")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [described(each) for each in service.networks.values()]}

    @app.get("/v1/models/{name}", summary="One of them.")
    async def model(name: str) -> dict[str, Any]:
        return described(service.network(name))

    @app.get("/v1/catalogue", summary="Names of solvers, grids and the rest, with what they are.")
    def entries() -> dict[str, dict[str, str]]:
        kinds = ("solvers", "grids", "guides", "operators", "inverse", "views")
        return {kind: first_lines(kind) for kind in kinds}

    @app.get("/v1/models/{name}/log", summary="The losses of a run, which may be in training.")
    def log(name: str) -> dict[str, list[float]]:
        return losses(service.network(name).run)

    @app.get("/v1/models/{name}/report", summary="The report of a run.")
    def report(name: str) -> Response:
        content = html(overview(service.network(name).run.path))
        return HTMLResponse(content, headers={"content-security-policy": ALONE})

    @app.get("/", include_in_schema=False)
    async def studio() -> Response:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))


async def _invalid(request: Request, error: Any) -> Response:
    """A field that is not as it must be: the fact, and what it must be."""
    faults = {str(each["loc"]): each for each in error.errors()}  # of each dependency once
    first, path = next(iter(faults.values())), request.url.path
    kind = ImagesBody if "images" in path else BODIES.get(path.split("/")[2])
    if first["type"] == "extra_forbidden" and kind:
        name = str(first["loc"][-1])
        return _failed(request, unknown("field", name, kind.model_fields, name))
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "header"))
    given = first.get("input")
    shown = f" {json.dumps(given)[:80]}" if isinstance(given, str | int | float | bool) else ""
    fact = f"`{where}`{shown}: {first['msg']}." if where else f"the body: {first['msg']}."
    more = len(faults) - 1
    more_words = f" {more} more fault{'s' * (more > 1)}." if more else ""
    remedy = f"{more_words} See /openapi.json."
    return JSONResponse(fault(fact + remedy, param=where or None), 422)


def _failed(request: Request | None, error: Any) -> Response:
    """Any end but an answer, as JSON."""
    if isinstance(error, BadInput):
        return JSONResponse(fault(str(error), param=error.field), 422)
    if isinstance(error, Busy):
        more = {"retry-after": str(error.seconds)}
        return JSONResponse(fault(str(error), "rate_limit_error"), 429, more)
    if isinstance(error, StarletteHTTPException):
        return JSONResponse(fault(error.detail), error.status_code)
    if isinstance(error, Late):
        return JSONResponse(fault(str(error), "timeout_error"), 504)
    if error is None:
        return JSONResponse(fault("the request was stopped.", "cancelled"), 410)
    return JSONResponse(fault("this is a bug of the server's; its log says more.", "bug"), 500)
