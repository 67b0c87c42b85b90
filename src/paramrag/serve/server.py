"""Runs the application: address, checks before the first request, orderly end."""

from __future__ import annotations

import ipaddress
import logging

import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ..config import Recipe
from ..errors import ConfigError
from ..infer import Engine
from ..parameterize.hypernet import Predictor
from ..store import Collection
from .app import create_app
from .settings import Settings

DRAIN_S = 60
"""Seconds that running answers get to finish after the server is told to stop."""


def serve(
    collection: Collection,
    engine: Engine,
    recipe: Recipe,
    settings: Settings | None = None,
    *,
    predicted: Recipe | Predictor | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    without_keys: bool = False,
) -> None:
    """Serves until the process is told to stop; then finishes what runs.

    Args:
        predicted: whose predicted adapters to inject, see `create_app`.
        host: address to listen on.
        port: port to listen on.
        without_keys: allow other machines to ask and to change documents, although there are no keys.

    Raises:
        ConfigError: other machines could reach the server and there are no keys.
    """
    settings = settings or Settings()
    local = is_loopback(host)
    if not local and not without_keys and not (settings.api_keys and settings.admin_keys):
        raise ConfigError(
            f"other machines can reach {host}, and not everything needs a key: give --api-key and --admin-key, listen "
            "on 127.0.0.1, or say --without-keys if everybody may ask and change documents"
        )
    app = create_app(collection, engine, recipe, settings, predicted=predicted)
    if local:  # a page in the user's browser must not reach the server under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", host])
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level=logging.getLevelName(max(logging.INFO, logging.getLogger().level)).lower(),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
