"""What holds for every route: bodies have a limit, and pages may load nothing from elsewhere."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import envelope
from .settings import Settings

DOCUMENTS = "/v1/documents"


class BodyLimit:
    """An ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, counting what its body has."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        brings = scope["path"].rstrip("/") == DOCUMENTS
        limit = self._settings.document_bytes if brings else self._settings.body_bytes
        said = f"the body is larger than {limit:,} bytes"
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > limit:
            await JSONResponse(envelope(413, said, "body_too_large"), 413)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise HTTPException(413, said)
            return message

        await self._app(scope, counted, send)


class SecurityHeaders:
    """An ASGI middleware that tells browsers what the page may do."""

    HEADERS = (
        (
            b"content-security-policy",
            b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and adds headers to its answer."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self.HEADERS]}
            await send(message)

        await self._app(scope, receive, marked)
