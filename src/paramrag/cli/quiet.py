"""Keeps the libraries underneath from talking over the command line; what they log as an error still shows."""

from __future__ import annotations

import logging
import os
import warnings


def silence(debug: bool) -> None:
    """Settles, before they are imported, what libraries may write to stderr; `debug` lets them talk."""
    logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(name)s: %(message)s")
    if debug:
        return
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("LANCE_LOG", "error")
