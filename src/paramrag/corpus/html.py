"""HTML to text with headings, by the standard library's parser: what a reader sees, without menus and scripts."""

from __future__ import annotations

import codecs
import re
from html import unescape
from html.parser import HTMLParser

from ..errors import CorpusError
from .decoding import clean, decode
from .sections import Heading, Text


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_DROPPED = _words(
    "script style noscript template nav footer svg math iframe object canvas audio video select button textarea"
)
_PARAGRAPHS = _words(
    "p div section article main header aside address blockquote figure figcaption details summary form fieldset "
    "ul ol dl table pre hr body title h1 h2 h3 h4 h5 h6"
)
_LINES = _words("br li dt dd tr caption option")
_CELLS = frozenset(("td", "th"))
_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,8}=\s{0,8}["']?\s{0,8}([\w.:-]{1,40})""", re.IGNORECASE)
_CONDITION = re.compile(r"<!\[[^>]*>")  # `<![if IE]>`; the parser fails on others that begin so
_HEAD_BYTES = 4096  # where a page must declare its encoding; browsers look at the first 1024


def read_html(data: bytes) -> Text:
    """Extracts paragraphs, headings and the title (`<title>`, else the first heading).

    Raises:
        CorpusError: if the page is neither UTF-8 nor in the encoding that it declares.
    """
    page = _Page()
    markup, rest = _tamed(_decoded(data))
    page.feed(markup)
    page.close()
    page.handle_data(unescape(rest))
    body = "".join(page.pieces)
    first = page.headings[0].name if page.headings else ""
    return Text(page.title or first, body, tuple(page.headings))


def _tamed(page: str) -> tuple[str, str]:
    """Returns the markup, and the text after the last tag, without what is opened and never closed.

    The parser looks for the end of each such thing anew, to the end of the page: quadratic time (CVE-2025-6069).
    """
    page = page.replace("<![CDATA[", " ").replace("]]>", " ")
    closed = page.rfind("-->") + 1
    page = page[:closed] + page[closed:].replace("<!--", " ")
    end = page.rfind(">") + 1
    return _CONDITION.sub(" ", page[:end]), page[end:]


def _decoded(data: bytes) -> str:
    try:
        return decode(data)
    except CorpusError:
        declared = _DECLARED.search(data[:_HEAD_BYTES])
        if declared is None:
            raise
        name = declared[1].decode("ascii", "replace")
        try:
            codec = codecs.lookup(name).name
            # what pages call Latin-1 is Windows-1252: https://encoding.spec.whatwg.org/#names-and-labels
            text = data.decode("cp1252" if codec in ("iso8859-1", "ascii") else codec)
        except (LookupError, UnicodeDecodeError) as error:
            raise CorpusError(f"neither valid UTF-8 nor {name}, which the page declares: {error}") from error
        return clean(text.replace("\r\n", "\n"))


class _Page(HTMLParser):
    """Collects a page's text; white space is folded as a browser does, blocks stand between blank lines."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.headings: list[Heading] = []
        self.title = ""
        self._length = 0
        self._gap = ""  # white space owed before the next word: "", " ", "\n" or "\n\n"
        self._dropped: list[str] = []  # open elements whose content is dropped
        self._title: list[str] | None = None
        self._heading: tuple[int, int] | None = None  # level, index of its first piece
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_title()  # a title holds no elements: this one was not closed
        if tag in _DROPPED:
            self._dropped.append(tag)
        elif tag == "title":
            self._title = None if self._dropped or self.title else []
        self._break(tag)
        if tag == "pre":
            self._preformatted += 1
        elif len(tag) == 2 and tag[0] == "h" and tag[1] in "123456" and not self._dropped:
            self._end_heading()
            self._heading = (int(tag[1]), len(self.pieces))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)  # `<br/>`; an empty element opens nothing

    def handle_endtag(self, tag: str) -> None:
        if tag in self._dropped:
            while self._dropped.pop() != tag:
                pass
        elif tag in ("body", "html"):
            self._dropped.clear()
        if tag == "title":
            self._end_title()
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._end_heading()
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)
        elif self._dropped:
            return
        elif self._preformatted:
            self._add(data)
        else:
            words = data.split()
            if not words or data[0].isspace():
                self._owe(" ")
            if words:
                self._add(" ".join(words))
                if data[-1].isspace():
                    self._owe(" ")

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._owe("\n\n")
        elif tag in _LINES:
            self._owe("\n")
        elif tag in _CELLS:
            self._owe(" ")

    def _owe(self, gap: str) -> None:
        self._gap = max(self._gap, gap, key=lambda g: (g.count("\n"), len(g)))

    def _add(self, text: str) -> None:
        text = clean(text)
        piece = (self._gap if self._length else "") + text
        self._gap = ""
        self.pieces.append(piece)
        self._length += len(piece)

    def _end_title(self) -> None:
        if self._title is not None:
            self.title = " ".join(clean("".join(self._title)).split())
            self._title = None

    def _end_heading(self) -> None:
        if self._heading is None:
            return
        level, first = self._heading
        self._heading = None
        text = "".join(self.pieces[first:])
        name = " ".join(text.split())
        if name:
            self.headings.append(Heading(level, name, self._length - len(text.lstrip()), self._length))
