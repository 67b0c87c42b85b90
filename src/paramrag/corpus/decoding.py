"""Bytes to text, or a plain reason why not. Never guesses an encoding."""

from __future__ import annotations

import codecs
import re

from ..errors import CorpusError

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTAINERS = (
    (b"PK\x03\x04", "a zip archive or office document; unpack it, or save it as text, HTML or PDF"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first (gunzip)"),
    (b"BZh", "compressed with bzip2; unpack it first (bunzip2)"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first (unzstd)"),
    (b"\xd0\xcf\x11\xe0", "an old office document; save it as text, HTML or PDF"),
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LOOK = 4096  # bytes looked at to tell text from binary


def mark(data: bytes) -> str | None:
    """Returns the codec that a byte-order mark announces."""
    return next((codec for start, codec in _MARKS if data.startswith(start)), None)


def decode(data: bytes) -> str:
    """Decodes UTF-8, or what a byte-order mark announces, with line ends as `\\n`.

    Raises:
        CorpusError: if the data is binary or in another encoding; the message is a reason without the file's name.
    """
    codec = mark(data)
    if codec is None and (nul := data.find(b"\0")) >= 0:
        raise CorpusError(_why_binary(data, nul))
    try:
        text = data.decode(codec or "utf-8")
    except UnicodeDecodeError as error:
        if codec and codec != "utf-8-sig":
            where = f"{error.reason} at byte {error.start}"
            raise CorpusError(f"not valid {codec.upper()}, which its byte-order mark announces: {where}") from error
        raise CorpusError(_why_not_utf8(data, error.start)) from error
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


def clean(text: str) -> str:
    """Replaces what no store or tokenizer takes, NUL and lone surrogates, by U+FFFD."""
    text = text.replace("\0", "\ufffd")
    if _SURROGATE.search(text):
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _why_binary(data: bytes, nul: int) -> str:
    for start, reason in _CONTAINERS:
        if data.startswith(start):
            return reason
    head = data[:_LOOK]
    for codec, offset in (("UTF-16LE", 1), ("UTF-16BE", 0)):
        if nul == offset and not any(head[offset::2]) and any(head[1 - offset :: 2]):
            return f"looks like {codec} without a byte-order mark; convert it with: iconv -f {codec} -t UTF-8"
    return f"binary file (a NUL byte at {nul}); expected text, Markdown, HTML, PDF or JSON lines"


def _why_not_utf8(data: bytes, position: int) -> str:
    for start, reason in _CONTAINERS:
        if data.startswith(start):
            return reason
    if _CONTROL.search(data[:_LOOK]):
        return "binary file (control characters); expected text, Markdown, HTML, PDF or JSON lines"
    return (
        f"not valid UTF-8 at byte {position}; convert it with: iconv -f WINDOWS-1252 -t UTF-8 "
        "(or whatever its encoding is)"
    )
