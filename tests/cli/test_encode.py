"""`paramrag encode`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from .conftest import Run

Copy = Callable[[Path], Path]


def test_encode_makes_what_is_missing_and_nothing_twice(
    run: Run, added: Path, files: Path, copy: Copy, tiny_model_folder: Path
) -> None:
    directory = copy(added)
    options = ("--model", tiny_model_folder, "--recipe", files / "small.yaml", "--json")
    first = run("encode", directory, "--limit", 1, *options).json
    assert (first["encoded"], first["present"]) == (1, 0)
    second = run("encode", directory, *options).json
    assert (second["encoded"], second["present"], second["failed"]) == (2, 1, [])
    assert second.keys() >= {"recipe", "recipe_id", "model", "storage", "items", "seconds"}
    third = run("encode", directory, *options).json
    assert (third["encoded"], third["present"]) == (0, 3)


def test_encode_goes_on_with_the_recipe_the_collection_has(
    run: Run, encoded: Path, copy: Copy, tmp_path: Path, tiny_model_folder: Path
) -> None:
    directory = copy(encoded)
    (tmp_path / "new.txt").write_text("The bell of Lome was cast by Arn Hult in 1790. It hangs in the northern gate.")
    run("add", directory, tmp_path / "new.txt")
    ran = run("encode", directory, "--model", tiny_model_folder)
    assert ran.code == 0
    made_items, made_adapters, _ = ran.out.splitlines()
    assert made_items.startswith("made 4 training items for 1 passage")
    assert made_adapters.startswith("made 1 adapter in ")
    assert made_adapters.endswith("3 were there already")
    assert [entry["adapters"] for entry in run("collection", "show", directory, "--json").json["recipes"]] == [4]


def test_a_dry_run_tells_the_cost_and_stores_nothing(
    run: Run, added: Path, files: Path, tiny_model_folder: Path
) -> None:
    options = ("--model", tiny_model_folder, "--recipe", files / "small.yaml", "--dry-run")
    estimate = run("encode", added, *options, "--json").json
    assert (estimate["passages"], estimate["present"], estimate["unaugmented"]) == (3, 0, 3)
    assert min(estimate[key] for key in ("seconds", "bytes", "tokens")) >= 0
    half = run("encode", added, *options, "--storage", "fp16", "--json").json
    assert half["bytes"] * 2 == estimate["bytes"]
    quarter = run("encode", added, *options, "--storage", "int4", "--json").json
    assert estimate["bytes"] / 8 < quarter["bytes"] < estimate["bytes"] / 5  # scales come on top
    shown = run("encode", added, *options)
    assert "3 passages (0 have an adapter already)" in shown.out
    assert run("collection", "show", added, "--json").json["adapters"] == 0


def test_another_augmenter_is_another_recipe(
    run: Run, encoded: Path, copy: Copy, files: Path, tiny_model_folder: Path
) -> None:
    directory = copy(encoded)
    options = ("--recipe", files / "small.yaml", "--model", tiny_model_folder, "--augmenter", "items")
    ran = run("encode", directory, *options)
    assert ran.code == 2  # none were put into the collection
    assert "items" in ran.err


@pytest.mark.parametrize("storage", ["int8", "int4"])
def test_adapters_are_stored_small_and_answer(
    run: Run, added: Path, copy: Copy, files: Path, tiny_model_folder: Path, storage: str
) -> None:
    directory = copy(added)
    options = ("--model", tiny_model_folder, "--recipe", files / "small.yaml")
    assert run("encode", directory, *options, "--storage", storage, "--json").json["storage"] == storage
    assert run("collection", "verify", directory).code == 0
    ran = run("ask", directory, "Who built the tower?", "--mode", "p-rag", "--model", tiny_model_folder, "--json")
    assert any(hit["adapter_id"] for hit in ran.json["hits"])


class _Endpoint(BaseHTTPRequestHandler):
    """Answers every chat completion with one good and one invented item, at 100 and 50 tokens."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        items = [
            {"question": "Who built the mill at Orrin?", "answer": "Teska Varn"},
            {"question": "Who owns the mill at Orrin?", "answer": "King Oskar"},
        ]
        reply = {
            "choices": [{"message": {"content": json.dumps({"questions": items})}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50},
        }
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_endpoint_makes_items_and_its_yield_and_cost_are_shown(
    run: Run, files: Path, tmp_path: Path, tiny_model_folder: Path, endpoint: str
) -> None:
    directory = tmp_path / "c"
    run("add", directory, files / "docs" / "mill.txt")
    options = ("--recipe", files / "small.yaml", "--model", tiny_model_folder, "--base-url", endpoint)
    ran = run("encode", directory, *options, "--augmenter", "openai:tiny", "--prices", 1000, 2000)
    assert ran.code == 0, ran.err
    assert "left out as not valid: 1 " in ran.out
    assert "100 tokens read and 50 written, cost 0.2000" in ran.out
    again = run("encode", directory, *options, "--augmenter", "openai:tiny", "--json")
    assert again.json["augmentation"]["passages"] == 0  # the items were paid for once
    assert len(_Endpoint.asked) == 1


def test_bad_input_is_refused(run: Run, added: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rnk: 2\n")
    model = ("--model", tiny_model_folder)
    for arguments, said in (
        ((tmp_path / "none", *model), "there is no collection"),
        ((added, "--model", tmp_path / "none"), "no file or folder"),
        ((added, *model, "--recipe", "defalt"), "did you mean 'default'"),
        ((added, *model, "--recipe", tmp_path / "bad.yaml"), "did you mean 'rank'"),
        ((added, *model, "--augmenter", "ruls"), "did you mean 'rules'"),
        ((added, *model, "--storage", "fp8"), "'int4'"),
        ((added, *model, "--device", "gpu"), "gpu"),
        ((added, *model, "--dtype", "fp8"), "fp8"),
        ((added, *model, "--limit", "0"), "--limit"),
    ):
        ran = run("encode", *arguments)
        assert ran.code == 2, (arguments, ran)
        assert said in ran.err
        assert ran.out == ""
