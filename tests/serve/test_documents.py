"""Documents come, are encoded in the background, answer, and are forgotten, while questions are being asked."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from paramrag import Engine
from paramrag.config import Hypernet, Recipe
from paramrag.corpus import cut
from paramrag.parameterize import load_hypernet
from paramrag.parameterize.hypernet.checkpoint import fresh_network, save_hypernet
from paramrag.serve import Settings
from paramrag.serve.documents import Encoder
from paramrag.types import Document
from tiny import tiny_base

from .conftest import RECIPE, Running, filled, running, wait_for

NEW = "The lighthouse of Vell was painted green by Ansa Korrin in 1954. The lighthouse of Vell has 211 steps."
ASK = [{"role": "user", "content": "Who painted the lighthouse of Vell?"}]


@pytest.fixture
def own(tmp_path: Path) -> Any:
    with running(tmp_path / "c", Settings()) as server, server.http() as http:
        yield server, http


def finished(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    wait_for(lambda: http.get(f"/v1/jobs/{job['id']}").json()["status"] not in ("queued", "running"), 120)
    return dict(http.get(f"/v1/jobs/{job['id']}").json())


def ask(http: httpx.Client, mode: str = "pt-rag") -> dict[str, Any]:
    body = {"model": f"tiny-llama:{mode}", "messages": ASK, "max_tokens": 4, "references": True}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_document_comes_is_encoded_and_forgotten(own: tuple[Running, httpx.Client]) -> None:
    server, http = own
    added = http.post("/v1/documents", json={"documents": [{"id": "a/vell.txt", "text": NEW}]})
    assert added.status_code == 202
    assert (added.json()["added"], added.json()["ids"]) == (1, ["a/vell.txt"])
    best = ask(http)["references"][0]  # its text is found at once; its adapter may still be on its way
    assert (best["document_id"], best["in_text"]) == ("a/vell.txt", True)
    job = finished(http, added.json()["job"])
    assert (job["status"], job["done"], job["failed"]) == ("done", 1, 0)
    assert http.get("/v1/jobs").json()["data"][0] == job
    best = ask(http, "p-rag")["references"][0]
    assert best["adapter_id"] == f"{best['passage_id']}-{RECIPE.id}"
    listed = {entry["id"]: entry for entry in http.get("/v1/documents").json()["data"]}
    assert listed["a/vell.txt"] == {
        "id": "a/vell.txt",
        "object": "document",
        "title": "vell",
        "passages": 1,
        "encoded": 1,
    }
    again = http.post("/v1/documents", json={"documents": [{"id": "a/vell.txt", "text": NEW}]}).json()
    assert again["unchanged"] == 1
    assert http.delete("/v1/documents/a/vell.txt").json()["deleted"] is True
    assert server.engine.scheduler.stats().prefixes == 0
    for mode in ("t-rag", "p-rag", "pt-rag"):
        assert all(entry["document_id"] != "a/vell.txt" for entry in ask(http, mode)["references"])
    assert http.delete("/v1/documents/a/vell.txt").status_code == 404


def test_files_of_any_format(own: tuple[Running, httpx.Client]) -> None:
    _, http = own
    files = {
        "vell.md": b"# The lighthouse\n\n" + NEW.encode(),
        "vell.html": f"<title>The lighthouse</title><p>{NEW}</p>".encode(),
        "vell.jsonl": b'{"id": "1", "text": "' + NEW.encode() + b'"}\n',
    }
    documents = [{"id": name, "file_base64": base64.b64encode(data).decode()} for name, data in files.items()]
    added = http.post("/v1/documents", json={"documents": documents, "encode": False}).json()
    assert added["job"] is None
    assert added["added"] == 3
    assert [name.split("#")[0] for name in added["ids"]] == list(files)
    assert "upload" not in str(added)


def test_an_adapter_is_missing_only_from_the_weights(own: tuple[Running, httpx.Client]) -> None:
    _, http = own
    http.post("/v1/documents", json={"documents": [{"id": "v", "text": NEW}], "encode": False})
    best = ask(http)["references"][0]
    assert (best["document_id"], best["in_text"], best["adapter_id"]) == ("v", True, None)
    assert ask(http, "p-rag")["choices"][0]["finish_reason"] in ("stop", "length")


def test_questions_while_documents_come_and_go(own: tuple[Running, httpx.Client]) -> None:
    server, http = own
    stop = threading.Event()
    failures: list[str] = []
    asked = [0]

    def client(mode: str) -> None:
        with server.http() as mine:
            while not stop.is_set():
                body = {"model": f"tiny-llama:{mode}", "messages": ASK, "max_tokens": 3}
                answer = mine.post("/v1/chat/completions", json=body)
                asked[0] += 1
                if answer.status_code != 200:
                    failures.append(answer.text)

    threads = [threading.Thread(target=client, args=(mode,)) for mode in ("t-rag", "p-rag", "pt-rag")]
    for thread in threads:
        thread.start()
    for number in range(4):
        text = f"{NEW} It was house number {number}."
        added = http.post("/v1/documents", json={"documents": [{"id": "v", "text": text}]}).json()
        if number % 2:
            finished(http, added["job"])
        assert http.delete("/v1/documents/v").status_code == 200
        assert all(entry["document_id"] != "v" for entry in ask(http)["references"])
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert asked[0] > 3
    wait_for(lambda: all(job["status"] == "done" for job in http.get("/v1/jobs").json()["data"]), 120)


class Documents(RuleBasedStateMachine):
    """What is listed, found and answered from is what a dictionary says, whoever asks meanwhile."""

    server: Running

    def __init__(self) -> None:
        super().__init__()
        self.http = self.server.http()
        self.here: dict[str, int] = {}
        self.jobs: list[dict[str, Any]] = []

    @rule(name=st.sampled_from("abc"), version=st.integers(0, 2), encode=st.booleans())
    def add(self, name: str, version: int, encode: bool) -> None:
        body = {"documents": [{"id": f"model-{name}", "text": text_of(name, version)}], "encode": encode}
        added = self.http.post("/v1/documents", json=body)
        assert added.status_code == 202, added.text
        before = self.here.get(name)
        kind = "added" if before is None else "unchanged" if before == version else "replaced"
        assert {key: added.json()[key] for key in ("added", "replaced", "unchanged")} == {
            key: int(key == kind) for key in ("added", "replaced", "unchanged")
        }
        self.here[name] = version
        if encode:
            self.jobs.append(added.json()["job"])

    @rule(name=st.sampled_from("abc"))
    def remove(self, name: str) -> None:
        gone = self.http.delete(f"/v1/documents/model-{name}")
        assert gone.status_code == (404 if self.here.pop(name, None) is None else 200)

    @rule(mode=st.sampled_from(["t-rag", "p-rag", "pt-rag"]))
    def ask(self, mode: str) -> None:
        found = self.answered(mode)
        if mode != "p-rag":  # there, a passage without an adapter has no part in the answer
            assert bool(found) == bool(self.here)
        assert found.items() <= self.texts().items()

    @rule(
        name=st.sampled_from("abc"),
        modes=st.lists(st.sampled_from(["t-rag", "p-rag", "pt-rag"]), min_size=2, max_size=4),
    )
    def remove_while_others_ask(self, name: str, modes: list[str]) -> None:
        before = self.texts()
        with ThreadPoolExecutor(len(modes)) as pool:
            answers = [pool.submit(self.answered, mode) for mode in modes]
            self.remove(name)
            for answer in answers:  # from before or after, never from something else
                assert answer.result().items() <= before.items()

    @rule()
    def wait(self) -> None:
        for job in self.jobs:
            assert finished(self.http, job)["status"] == "done"
        self.jobs.clear()

    @invariant()
    def listed(self) -> None:
        listed = {entry["id"] for entry in self.http.get("/v1/documents").json()["data"]}
        assert {name for name in listed if name.startswith("model-")} == {f"model-{name}" for name in self.here}

    def texts(self) -> dict[str, str]:
        return {f"model-{name}": text_of(name, version) for name, version in self.here.items()}

    def answered(self, mode: str) -> dict[str, str]:
        """Asks; returns what the answer came from, of these documents."""
        with self.server.http() as http:
            references = ask(http, mode)["references"]
        return {one["document_id"]: one["text"] for one in references if one["document_id"].startswith("model-")}

    def teardown(self) -> None:
        for name in list(self.here):
            self.remove(name)
        self.wait()
        self.http.close()


def text_of(name: str, version: int) -> str:
    return f"{NEW} Keeper {name} of the lighthouse of Vell came {version} years later."


@pytest.mark.timeout(900)
def test_any_order_of_adding_removing_and_asking(server: Running) -> None:
    machine = type("Machine", (Documents,), {"server": server})
    run_state_machine_as_test(machine, settings=settings(max_examples=6, stateful_step_count=10, deadline=None))


def test_a_hypernetwork_predicts_the_adapters_of_new_documents(tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    small = Hypernet(width=8, heads=2, blocks=1, basis=4)
    recipe = Recipe(layers="2-3", rank=1, modules=("down_proj",), hypernet=small)
    save_hypernet(tmp_path / "h", engine, recipe, fresh_network(engine, recipe))
    predictor = load_hypernet(tmp_path / "h", engine)
    collection = filled(tmp_path / "c", engine)
    collection.add(
        Document("bell", "bell", "bell", cut("The bell of Lome was cast by Arn Hult in 1790.", title="bell"))
    )
    (new,) = (document.passage_ids for document in collection.documents() if document.id == "bell")
    encoder = Encoder(collection, engine, RECIPE, predictor, limit=5)
    encoder.start()
    try:
        job = encoder.submit(new)
        wait_for(lambda: job.state in ("done", "failed"))
    finally:
        encoder.stop()
    assert (job.state, job.failed) == ("done", 0)
    for made_by in (predictor.recipe, RECIPE):
        assert set(new) <= collection.encoded(engine.fingerprint, made_by.id)
