"""What each file format becomes, on real files."""

import io
import time
from pathlib import Path

import pypdf
import pytest
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from paramrag.corpus import Reading, read
from paramrag.types import Document


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def one(path: Path, words: int = 100) -> Document:
    reading = read([path], words=words)
    (document,) = reading.documents
    assert reading.skipped == []
    return document


def exhausted(reading: Reading) -> tuple[list[Document], list[str]]:
    return list(reading.documents), [entry.reason for entry in reading.skipped]


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF with one line of Helvetica per line of text."""
    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(600, 800)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        lines = "".join(f"({line}) Tj 0 -14 Td " for line in text.splitlines())
        stream.set_data(f"BT /F1 12 Tf 50 700 Td {lines} ET".encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_plain_text_keeps_its_words_and_spans(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n} says this. And it says that, {'and more ' * 20}here." for n in range(9))
    path = write(tmp_path / "my_long-note.txt", text)
    document = one(path)
    assert document.title == "my long note"
    assert document.id == path.resolve().as_posix()
    assert len(document.passages) > 3
    assert all(text[p.start : p.end] == p.text and p.title == "my long note" for p in document.passages)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_understood(tmp_path: Path, encoding: str) -> None:
    document = one(write(tmp_path / "a.txt", "Zürich liegt am See.\r\nJa.".encode(encoding)))
    assert document.passages[0].text == "Zürich liegt am See.\nJa."


def test_markdown_headings_become_titles(tmp_path: Path) -> None:
    body = "This sentence has exactly seven words here. " * 8
    text = f"# The *Guide* #\n\n{body}\n\n## Install\n\n{body}\n### [Linux](http://x) ##\n{body}\n\n## Use\n{body}"
    document = one(write(tmp_path / "x.md", text))
    assert document.title == "The Guide"
    assert [passage.title for passage in document.passages] == [
        "The Guide",
        "The Guide: Install",
        "The Guide: Install: Linux",
        "The Guide: Use",
    ]
    assert all(text[p.start : p.end] == p.text == body.strip() for p in document.passages)


def test_markdown_front_matter_underlines_and_fences(tmp_path: Path) -> None:
    body = "This sentence has exactly seven words here. " * 8
    code = "```sh\n# no heading\n```"
    text = f'---\ntitle: "Named"\ntags: x\n---\n{body}\n\n{code}\n\nUnderlined\n==========\n{body}\n\n| a |\n| --- |\n'
    first, second = one(write(tmp_path / "x.md", text)).passages
    assert (first.title, second.title) == ("Named", "Named: Underlined")
    assert code in first.text
    assert "tags" not in first.text
    assert second.text.endswith("| --- |")


def test_short_markdown_sections_stay_together(tmp_path: Path) -> None:
    text = "# Doc\n\n## One\nFirst bit.\n\n## Two\nSecond bit.\n\n## Three\nThird bit."
    (passage,) = one(write(tmp_path / "x.md", text)).passages
    assert passage.title == "Doc"
    assert passage.text == text.removeprefix("# Doc\n\n") == text[passage.start : passage.end]
    assert one(write(tmp_path / "y.md", "# Only a heading")).passages[0].text == "# Only a heading"


def test_html_keeps_what_a_reader_sees(tmp_path: Path) -> None:
    filler = "Seven words are in this very sentence. " * 8
    page = f"""<!doctype html><html><head><title>The  Tower &amp; more</title><style>p {{ color: red }}</style>
      <script>var x = "<p>no</p>";</script></head><body><nav><a href=x>Menu</a></nav>
      <p>It was <b>tall</b>,
         very<br>tall. &lt;3</p><p>{filler}</p><h2>History</h2><ul><li>{filler}</li><li>Two</li></ul>
      <table><tr><td>a</td><td>b</td></tr></table><pre>x
  y</pre><footer>Legal</footer></body></html>"""
    document = one(write(tmp_path / "page.html", page))
    assert document.title == "The Tower & more"
    first, second = document.passages
    assert first.text == f"It was tall, very\ntall. <3\n\n{filler.strip()}"
    assert (first.title, second.title) == ("The Tower & more", "The Tower & more: History")
    assert second.text == f"{filler.strip()}\nTwo\n\na b\n\nx\n  y"


def test_broken_html_is_still_read(tmp_path: Path) -> None:
    document = one(
        write(tmp_path / "page", "<html><title>T<body><h1>Head<![x[<p>><p>One <i>two<p>Three</nav></script> &amp; <b")
    )
    assert document.title == "T"
    assert "One two\n\nThree & <b" in document.passages[0].text


def test_html_may_declare_its_encoding(tmp_path: Path) -> None:
    page = '<html><meta charset="iso-8859-1"><p>Caf\u00e9 \u201cZ\u201d</p>'.encode("cp1252")
    assert one(write(tmp_path / "a.htm", page)).passages[0].text == "Café “Z”"
    _, reasons = exhausted(read([write(tmp_path / "b.htm", "<p>Café</p>".encode("latin-1"))]))
    assert reasons[0].startswith("not valid UTF-8 at byte 6; convert it with: iconv -f")


def test_pdf_text_and_title(tmp_path: Path) -> None:
    document = one(write(tmp_path / "a.pdf", pdf("The tower was de-\nsigned by Ann.", "Page two.", title="Tower")))
    assert document.title == "Tower"
    assert document.passages[0].text == "The tower was designed by Ann.\nPage two."
    assert one(write(tmp_path / "my_file.bin", pdf("Text."))).title == "my file"


def test_pdf_open_with_an_empty_user_password_is_read(tmp_path: Path) -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Readable text.")))
    writer.encrypt(user_password="", owner_password="secret", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    assert one(write(tmp_path / "a.pdf", out.getvalue())).passages[0].text == "Readable text."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pdf("Secret.", password="x"), "encrypted with a password"),
        (pdf(""), "no text in its 1 pages; if they are scanned, run OCR first"),
        (b"%PDF-1.4 garbage", "not readable as PDF: "),
        (pdf("Text.")[:200], "not readable as PDF: "),
    ],
)
def test_unreadable_pdf_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    documents, reasons = exhausted(read([write(tmp_path / "a.pdf", content)]))
    assert documents == []
    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


@pytest.mark.parametrize("piece", ["<!--", "<!-", "<a b='", "<![CDATA[>", "<![if>", "<![x[", "</"])
def test_html_that_is_opened_and_never_closed_takes_linear_time(tmp_path: Path, piece: str) -> None:
    path = write(tmp_path / "a.html", f"<p>Words before.</p>{piece * 50_000}")
    begin = time.process_time()
    assert one(path).passages[0].text.startswith("Words before.")
    assert time.process_time() - begin < 5  # the parser alone takes minutes
