"""The OpenAPI schema against the server: what is made from it is answered as it says, never with an error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from paramrag.serve import Settings

from .conftest import ADMIN, READER, Running, running

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
# some bodies are refused for reasons that a schema cannot say, such as a last message that is not the user's
BEYOND_SCHEMA = pytest.importorskip("schemathesis.specs.openapi.checks").positive_data_acceptance
KEY = {"Authorization": f"Bearer {ADMIN}"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with keys, so that what is said of them is checked too."""
    limits = Settings(api_keys=(READER,), admin_keys=(ADMIN,), max_new_tokens=2, token_limit=8, document_jobs=10_000)
    with running(tmp_path_factory.mktemp("keyed") / "c", limits) as server:
        yield server


@pytest.mark.timeout(900)
def test_every_route_answers_as_the_schema_says(keyed: Running) -> None:
    schema = schemathesis.openapi.from_url(f"{keyed.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            case.call_and_validate(headers=KEY, excluded_checks=[BEYOND_SCHEMA])

        answers()


def test_every_route_is_described(keyed: Running) -> None:
    said = httpx.get(f"{keyed.url}/openapi.json").json()
    open_to_all = {"/health", "/ready"}
    for path, methods in said["paths"].items():
        for method, route in methods.items():
            assert route["description"], (path, method)
            assert {"4XX", "5XX"} <= route["responses"].keys()
            assert ("security" in route) == (path not in open_to_all), path
    assert "422" not in json.dumps(said["paths"])


def test_models_that_are_known_are_asked(keyed: Running, tmp_path: Path) -> None:
    """What schemathesis makes names no model; these bodies do."""
    with keyed.http(READER) as http:
        for model in [entry["id"] for entry in http.get("/v1/models").json()["data"]]:
            body = {"model": model, "messages": [{"role": "user", "content": "\x00 \U0001f600"}]}
            assert http.post("/v1/chat/completions", json=body).status_code == 200
