"""The server's routes. Each is a few lines: check, do, answer; the work is in the files beside this one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope, Send

from .. import __version__
from ..config import Parameterizer, Recipe
from ..infer import Completion, Engine, Update
from ..parameterize.hypernet import Predictor
from ..store import Collection
from ..types import Hit
from .answers import Answers, Asked
from .documents import Encoder, documents_of
from .driver import Driver, Running
from .keys import Keys
from .limits import BodyLimit, SecurityHeaders
from .metrics import Metrics
from .problems import RESPONSES, Problem, install, problem_of
from .protocol import AddRequest, ChatRequest, CompletionRequest, ExplainRequest, RetrieveRequest
from .settings import Settings

PLAYGROUND = Path(__file__).parent / "playground"

GONE = 499
"""Status, in the metrics alone, of a request whose client went away."""


def create_app(
    collection: Collection,
    engine: Engine,
    recipe: Recipe,
    settings: Settings | None = None,
    *,
    predicted: Recipe | Predictor | None = None,
) -> FastAPI:
    """Returns the ASGI application; its threads run from startup to shutdown.

    Args:
        collection: answers come from it, and documents go into it.
        engine: should have a prefix cache.
        recipe: whose adapters are injected and made.
        predicted: whose adapters the modes with predicted ones inject; a hypernetwork also makes those of new
            documents. None: there are no such modes.

    Raises:
        ConfigError: a setting names a retriever or rule that is not there.
    """
    settings = settings or Settings()
    driver = Driver(engine.scheduler, limit=settings.queue_limit, timeout_s=settings.timeout_s)
    recipes: dict[Parameterizer, Recipe] = {"static": recipe}
    if predicted:
        recipes["dynamic"] = predicted if isinstance(predicted, Recipe) else predicted.recipe
    answers = Answers(collection, engine, recipes, settings, driver)
    hypernet = predicted if isinstance(predicted, Predictor) else None
    encoder = Encoder(collection, engine, recipe, hypernet, limit=settings.document_jobs)
    metrics = Metrics(engine.scheduler, collection)
    metrics.in_flight.set_function(lambda: driver.in_flight)
    metrics.jobs.set_function(lambda: encoder.open_jobs)
    keys = Keys(settings)
    bearer = HTTPBearer(auto_error=False, description="An API key")  # for the schema: `keys` does the checking
    reading, changing = ([Depends(bearer), Depends(check)] for check in (keys.reader, keys.changer))
    changes = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        driver.start()
        encoder.start()
        try:
            yield
        finally:
            await asyncio.to_thread(encoder.stop)
            await asyncio.to_thread(driver.stop)

    app = FastAPI(
        title="ParamRAG", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=RESPONSES
    )
    install(app)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(SecurityHeaders)

    async def generate(request: Request, body: ChatRequest | CompletionRequest) -> Response:
        endpoint = request.url.path
        mode = body.model.rpartition(":")[2] if body.model in answers.models else "unknown"
        place = driver.place()
        try:
            place.__enter__()
        except Problem:
            metrics.requests.labels(endpoint, mode, 429).inc()
            raise

        left = False

        def leave(status: int) -> None:
            nonlocal left
            if not left:
                left = True
                place.__exit__(None, None, None)
                metrics.requests.labels(endpoint, mode, status).inc()

        try:
            asked = await answers.ask(body)
            running = driver.run(asked.prepared.requests, asked.prepared.doubts)
        except Exception as error:
            problem = problem_of(error)
            leave(problem.status)
            raise problem from error
        except BaseException:
            leave(GONE)
            raise
        if body.stream:
            events = _events(request, answers, running, metrics, asked, leave)
            return _Stream(events, running, leave)
        status = GONE
        try:
            completion = await _unless_gone(request, running)
            if completion is None:
                return Response(status_code=GONE)
            status = 200
            _observe(metrics, asked, completion)
            return JSONResponse(answers.whole(asked, completion))
        except Exception as error:
            problem = problem_of(error)
            status = problem.status
            raise problem from error
        finally:
            leave(status)

    answered: dict[int | str, dict[str, Any]] = {
        200: {"description": "The answer; with `stream`, events", "content": {"text/event-stream": {}}}
    }

    @app.post("/v1/chat/completions", dependencies=reading, responses=answered)
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Answers the last user turn of a conversation."""
        return await generate(request, body)

    @app.post("/v1/completions", dependencies=reading, responses=answered)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Goes on with a text."""
        return await generate(request, body)

    @app.get("/v1/models", dependencies=reading)
    async def models() -> dict[str, Any]:
        """Lists the models: one per mode."""
        return {"object": "list", "data": [_model(model) for model in answers.models]}

    @app.get("/v1/models/{model:path}", dependencies=reading)
    async def model(model: str) -> dict[str, Any]:
        """Returns one model."""
        answers.pipeline(model)
        return _model(model)

    @app.post("/v1/retrieve", dependencies=reading)
    async def retrieve(body: RetrieveRequest) -> dict[str, Any]:
        """Finds passages, without an answer."""
        pipeline = answers.pipeline(f"{answers.base_name}:t-rag")
        hits = await asyncio.to_thread(pipeline.retrieve, body.query, body.top_k)
        passage_ids = [hit.passage.id for hit in hits]
        encoded = await asyncio.to_thread(collection.encoded, engine.fingerprint, recipe.id, passage_ids)
        return {"object": "list", "data": [_hit(hit, recipe, encoded) for hit in hits]}

    @app.post("/v1/explain", dependencies=reading)
    async def explain(body: ExplainRequest) -> dict[str, Any]:
        """Answers, and says what each adapter and each passage did to every token of the answer."""
        with driver.place():
            return await asyncio.to_thread(answers.explain, body)

    @app.get("/v1/documents", dependencies=reading)
    async def documents() -> dict[str, Any]:
        """Lists the documents, and how many of their passages have adapters."""
        encoded = await asyncio.to_thread(collection.encoded, engine.fingerprint, recipe.id)
        records = await asyncio.to_thread(collection.documents)
        return {
            "object": "list",
            "data": [
                {
                    "id": record.id,
                    "object": "document",
                    "title": record.title,
                    "passages": len(record.passage_ids),
                    "encoded": sum(passage_id in encoded for passage_id in record.passage_ids),
                }
                for record in records
            ],
        }

    @app.post("/v1/documents", dependencies=changing, status_code=202)
    async def add(body: AddRequest) -> dict[str, Any]:
        """Adds documents, or replaces those with the same id; what they say is found when this returns."""
        encoder.check_room()
        made = await asyncio.to_thread(documents_of, body.documents)
        async with changes:
            report = await asyncio.to_thread(collection.add, made)
        if report.replaced:
            engine.scheduler.forget_prefixes()
        passages = list(dict.fromkeys(passage.id for document in made for passage in document.passages))
        job = encoder.submit(passages) if body.encode else None
        return {
            "object": "documents.added",
            "ids": [document.id for document in made],
            "added": report.added,
            "replaced": report.replaced,
            "unchanged": report.unchanged,
            "passages": len(passages),
            "job": job.to_json() if job else None,
        }

    @app.delete("/v1/documents/{document_id:path}", dependencies=changing)
    async def remove(document_id: str) -> dict[str, Any]:
        """Forgets a document: its text, items and adapters. No later answer comes from it."""
        async with changes:
            await asyncio.to_thread(collection.remove, document_id)
        await asyncio.to_thread(engine.scheduler.forget_prefixes)
        return {"id": document_id, "object": "document.deleted", "deleted": True}

    @app.get("/v1/jobs", dependencies=reading)
    async def jobs() -> dict[str, Any]:
        """Lists encoding jobs, the newest first."""
        return {"object": "list", "data": [job.to_json() for job in encoder.jobs()]}

    @app.get("/v1/jobs/{job_id}", dependencies=reading)
    async def job(job_id: str) -> dict[str, Any]:
        """Returns how far an encoding job is."""
        return encoder.job(job_id).to_json()

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Says that the process runs."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Says whether requests will be answered."""
        return JSONResponse({"status": "ready" if driver.alive else "stopping"}, 200 if driver.alive else 503)

    @app.get("/metrics", dependencies=reading, response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    for page in PLAYGROUND.iterdir():  # not mounted, which would answer 404 where a path has other methods
        app.add_api_route(
            "/" if page.name == "index.html" else f"/{page.name}",
            _file(page),
            methods=["GET", "HEAD"],
            include_in_schema=False,
        )
    return app


def _file(path: Path) -> Callable[[], FileResponse]:
    def send() -> FileResponse:
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    return send


class _Stream(StreamingResponse):
    """Events of an answer; whatever happens to them, the request is given up and its place is free afterwards."""

    def __init__(self, events: AsyncIterator[str], running: Running, leave: Callable[[int], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._running, self._leave = running, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # the events may never have begun
            self._running.close()
            self._leave(GONE)


async def _events(
    request: Request, answers: Answers, running: Running, metrics: Metrics, asked: Asked, leave: Callable[[int], None]
) -> AsyncIterator[str]:
    """Yields the server-sent events of one answer."""
    status = GONE
    gone = asyncio.ensure_future(_gone(request))
    waiting: asyncio.Future[Update] | None = None
    try:
        yield _event(answers.opening(asked))
        first = True
        while True:
            waiting = asyncio.ensure_future(running.next())
            await _either(waiting, gone)
            if not waiting.done():
                return
            update = waiting.result()
            if first:
                metrics.stage.labels("first_token").observe(time.perf_counter() - asked.started)
                first = False
            if update.text or update.logprobs:
                yield _event(answers.piece(asked, update.text, update.logprobs))
            if update.completion:
                _observe(metrics, asked, update.completion)
                status = 200
                for chunk in answers.closing(asked, update.completion):
                    yield _event(chunk)
                yield "data: [DONE]\n\n"
                return
    except Exception as error:  # noqa: BLE001 - the status is sent already, so the stream itself must say it
        problem = problem_of(error)
        status = problem.status
        yield _event(problem.body())
    finally:  # nothing here waits: the task may have been cancelled
        gone.cancel()
        if waiting:
            waiting.cancel()
        running.close()
        leave(status)


async def _unless_gone(request: Request, running: Running) -> Completion | None:
    """Returns the answer; None if the client goes away first."""
    working, gone = asyncio.ensure_future(running.completion()), asyncio.ensure_future(_gone(request))
    try:
        await _either(working, gone)
        return working.result() if working.done() else None
    finally:
        gone.cancel()
        working.cancel()
        running.close()


async def _either(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _observe(metrics: Metrics, asked: Asked, completion: Completion) -> None:
    for stage, ms in (
        ("retrieve", asked.prepared.retrieve_ms),
        ("gather", asked.prepared.gather_ms),
        ("queue", completion.queue_ms),
        ("prefill", completion.prefill_ms),
        ("decode", completion.decode_ms),
    ):
        metrics.stage.labels(stage).observe(ms / 1000)
    metrics.stage.labels("total").observe(time.perf_counter() - asked.started)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _model(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "paramrag"}


def _hit(hit: Hit, recipe: Recipe, encoded: set[str]) -> dict[str, Any]:
    return {
        "passage_id": hit.passage.id,
        "document_id": hit.document_id,
        "title": hit.passage.title,
        "text": hit.passage.text,
        "score": round(hit.score, 4),
        "adapter_id": f"{hit.passage.id}-{recipe.id}" if hit.passage.id in encoded else None,
    }
