"""Who may do what: API keys, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request

from .problems import Problem
from .settings import Settings


class Keys:
    """The keys of a server. With none at all, everybody may do everything."""

    def __init__(self, settings: Settings) -> None:
        self._admin = [_digest(key) for key in settings.admin_keys]
        self._read = [_digest(key) for key in settings.api_keys] + self._admin
        self._open = not self._read
        self._reading_open = self._open or not settings.api_keys  # admin keys alone leave asking to everybody

    def reader(self, request: Request) -> None:
        """Refuses who may not ask."""
        if not self._reading_open:
            self._check(request, self._read, 401)

    def changer(self, request: Request) -> None:
        """Refuses who may not change documents."""
        if self._open:
            return
        self.reader(request)
        self._check(request, self._admin, 403)

    def _check(self, request: Request, digests: Sequence[bytes], status: int) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Problem(
                401,
                "no API key; send the header `Authorization: Bearer KEY`",
                code="missing_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        wanted = _digest(given.strip())
        # all are compared, so that the time tells nothing
        if sum([hmac.compare_digest(wanted, digest) for digest in digests]):
            return
        if status == 403:
            raise Problem(403, "this key may ask, but not change documents", code="not_allowed")
        raise Problem(401, "unknown API key", code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
