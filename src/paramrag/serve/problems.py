"""Errors as OpenAI's clients expect them: a status, and `{"error": {"message", "type", "param", "code"}}`.

What a user can mend is said; anything else is logged with its traceback under a number, and only the number is sent.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ..errors import CollectionError, NotFoundError, ParamRAGError, did_you_mean
from . import protocol

logger = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be answered as it is"},
    "5XX": {"model": ErrorBody, "description": "The server cannot answer it, or not now"},
}
"""For the OpenAPI schema: what every route may answer beside what it says."""


class Problem(Exception):
    """A request that cannot be answered."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Returns the envelope."""
        return envelope(self.status, self.message, self.code, self.param)


def envelope(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Returns the JSON object of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def problem_of(error: BaseException) -> Problem:
    """Returns what to tell the user of an exception; what she cannot mend is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, NotFoundError):
        return Problem(404, str(error), code="not_found")
    if isinstance(error, CollectionError):
        logger.error("the collection cannot be used: %s", error)
        return Problem(503, "the collection cannot be used at the moment; try again later", code="collection")
    if isinstance(error, ParamRAGError):
        return Problem(400, str(error), code="invalid_value")
    number = secrets.token_hex(4)
    logger.error("error %s", number, exc_info=error)
    return Problem(500, f"an error inside the server; its log has it under {number}", code="internal_error")


def install(app: FastAPI) -> None:
    """Makes the app answer every error with an envelope."""

    async def validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        # a misspelt field often leaves another one missing: the misspelling is the news
        unknown = [entry for entry in found if entry["type"] == "extra_forbidden"]
        return _response(_invalid((unknown or found)[0]))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = str(error.detail)
        if error.status_code == 404:
            message = f"there is no {request.url.path}"
        elif error.status_code == 405:
            message = f"there is no {request.method} {request.url.path}"
        return _response(Problem(error.status_code, message, headers=error.headers))

    async def other(_: Request, error: Exception) -> JSONResponse:
        return _response(problem_of(error))

    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Problem, other)
    app.add_exception_handler(ParamRAGError, other)
    app.add_exception_handler(Exception, other)


def _invalid(first: Mapping[str, Any]) -> Problem:
    where = [str(part) for part in first["loc"][1:]]
    param = ".".join(where) or None
    if first["type"] == "json_invalid":
        return Problem(400, f"the body is not valid JSON: {first.get('ctx', {}).get('error', '')}", code="invalid_json")
    if first["type"] == "extra_forbidden":
        known = protocol.fields_beside(where)
        hint = f": {did_you_mean(where[-1], known)}" if known else ""
        return Problem(400, f"unknown field {param!r}{hint}", code="unknown_field", param=param)
    message = first["msg"].removeprefix("Value error, ")
    return Problem(400, f"{param}: {message}" if param else message, code="invalid_value", param=param)


def _response(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.body(), problem.status, problem.headers)
