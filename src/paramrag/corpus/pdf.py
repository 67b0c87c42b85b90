"""PDF to text, through pypdf. Reads the text layer; it does not recognise letters in images."""

from __future__ import annotations

import io
import re
from typing import Any

from ..errors import CorpusError
from .decoding import clean
from .sections import Text

_HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[a-zß-öø-ÿ])")
_NO_TITLE = re.compile(r"\s*(untitled.*|microsoft \w+ - .*|.*\.(docx?|tex|dvi|indd|qxd|pptx?))?\s*$", re.IGNORECASE)


def read_pdf(data: bytes) -> Text:
    """Extracts the text of all pages, hyphenation at line ends undone, and the title from the metadata if it has one.

    Raises:
        CorpusError: if the file is damaged, needs a password, or holds no text.
    """
    import pypdf  # takes 0.2 s: only who reads a PDF pays

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise CorpusError("encrypted with a password; save a copy without one, for example with qpdf --decrypt")
        pages = list(reader.pages)
    except CorpusError:
        raise
    except Exception as error:  # on damaged input pypdf raises whatever its parser ran into
        raise CorpusError(f"not readable as PDF: {_said(error)}; save it anew, or export it as text") from error
    texts: list[str] = []
    notes: list[str] = []
    for number, page in enumerate(pages, 1):
        try:
            texts.append(page.extract_text().strip())
        except Exception as error:  # noqa: BLE001 (as above; the other pages may well be readable)
            notes.append(f"page {number} could not be read: {_said(error)}")
    body = clean("\n".join(text for text in texts if text))
    if not body.strip():
        raise CorpusError(
            notes[0] if notes else f"no text in its {len(pages)} pages; if they are scanned, run OCR first (ocrmypdf)"
        )
    return Text(_title(reader), _HYPHENATED.sub("", body), notes=tuple(notes))


def _title(reader: Any) -> str:
    """Returns the metadata's title, unless it is the name that a program made up."""
    try:
        title = str(reader.metadata.title or "") if reader.metadata else ""
    except Exception:  # noqa: BLE001 (damaged metadata; the file's name will do)
        return ""
    return "" if _NO_TITLE.match(title) else " ".join(clean(title).split())


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
