"""Keeps the libraries underneath from talking over the command line; what they log as an error still shows."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from io import TextIOWrapper


def silence(debug: bool) -> None:
    """Settles, before they are imported, what libraries may write to stderr; `debug` lets them talk."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # text that the terminal cannot show must not end a command
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO if debug else logging.ERROR, format="%(name)s: %(message)s")
    if debug:
        return
    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("LANCE_LOG", "error")
