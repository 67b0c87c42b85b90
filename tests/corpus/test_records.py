"""The corpus formats of the field, and what is wrong with a line."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from paramrag.corpus import read
from paramrag.types import Document, Passage, content_hash

LONG = " ".join(f"Sentence number {number} has seven words." for number in range(50))


def corpus(path: Path, *records: Any) -> Path:
    """Writes JSON lines; a text is written as it is."""
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def documents(path: Path, **arguments: Any) -> list[Document]:
    reading = read([path], **arguments)
    found = list(reading.documents)
    assert reading.skipped == []
    return found


def reasons(path: Path, **arguments: Any) -> tuple[list[str], list[str]]:
    """Titles of the documents, and reasons of what was skipped."""
    reading = read([path], **arguments)
    titles = [document.title for document in reading.documents]
    assert {entry.path for entry in reading.skipped} <= {str(path)}
    return titles, [entry.reason for entry in reading.skipped]


def test_beir(tmp_path: Path) -> None:
    path = corpus(tmp_path / "corpus.jsonl", {"_id": "d1", "title": "T", "text": LONG, "metadata": {}})
    (document,) = documents(path)
    assert document.id == f"{path.resolve().as_posix()}#d1"
    assert document.title == "T"
    assert len(document.passages) > 2
    assert all(LONG[p.start : p.end] == p.text and p.title == "T" for p in document.passages)


def test_flashrag_is_kept_uncut_and_unquoted(tmp_path: Path) -> None:
    records = [{"id": "0", "contents": f'"The ""Big"" One"\n{LONG}'}, {"id": 1, "contents": "Two\nText."}]
    first, second = documents(corpus(tmp_path / "c.jsonl", *records, {"id": 2, "contents": "No title."}))[:2]
    assert first.passages == (Passage(LONG, 'The "Big" One', 0, len(LONG)),)
    assert (second.id.rpartition("#")[2], second.passages[0].text) == ("1", "Text.")


def test_kilt(tmp_path: Path) -> None:
    text = ["Tower\n", "A tower.\n", "Section::::History.:Early.\n", LONG, "BULLET::::- An item\n", ""]
    records = [
        {"_id": "9", "wikipedia_id": "290", "wikipedia_title": "Tower", "text": text},
        {"_id": "9", "wikipedia_title": "Hut", "text": ["Hut", "A hut."]},
    ]
    tower, hut = documents(corpus(tmp_path / "kilt.json", *records))
    assert [document.id.rpartition("#")[2] for document in (tower, hut)] == ["290", "9"]
    assert tower.passages[0] == Passage("A tower.", "Tower", 0, 8)
    assert {passage.title for passage in tower.passages[1:]} == {"Tower: History: Early"}
    assert tower.passages[-1].text.endswith("- An item")
    assert [passage.text for passage in hut.passages] == ["A hut."]


def test_benchmark_passages_are_united_and_verbatim(tmp_path: Path) -> None:
    shared = {"id": "p1", "title": "", "text": f" {LONG}", "gold": True}
    path = corpus(
        tmp_path / "set.jsonl",
        {"id": "q1", "question": "?", "answers": ["a"], "passages": [shared, {"id": "p2", "title": "T", "text": "B."}]},
        {"id": "q2", "question": "?", "answers": ["a"], "passages": [{"title": None, "text": "C."}, shared]},
        {"id": "q3", "question": "?", "answers": ["a"], "passages": ["C."]},
    )
    found = documents(path)
    names = [document.id.rpartition("#")[2] for document in found]
    assert names == ["p1", "p2", content_hash("", "C.")]
    assert [document.title for document in found] == ["p1", "T", names[2]]
    assert found[0].passages[0].id == Passage(f" {LONG}", "").id


def test_plain_records(tmp_path: Path) -> None:
    short = "Five words are in here. " * 30
    path = corpus(tmp_path / "p.ndjson", {"text": short}, {"text": f"{short}More.", "title": "T", "id": "x"})
    first, second = documents(path)
    assert first.id.endswith("#line-1")
    assert [len(document.passages) for document in (first, second)] == [1, 2]
    assert second.title == "T"


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "A.", "title": "a"},\n {"text": "B.", "title": "b"}]',
        '[{"text": "A.", "title": "a"}, {"text": "B.", "title": "b"}]',
        '\n\n{"text": "A.", "title": "a"}\r\n\r\n{"text": "B.", "title": "b"}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_arrays_blank_lines_and_marks(tmp_path: Path, content: str, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding=encoding)
    assert [document.title for document in documents(path)] == ["a", "b"]


def test_one_object_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"text": "A.", "title": "a"}, indent=2))
    assert [document.title for document in documents(path)] == ["a"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"_id": "2", "title": "b"', "line 2: not valid JSON: Expecting ',' delimiter"),
        ("[1, 2]", "line 2: a JSON list; expected an object"),
        ('{"_id": "2", "title": "b"}', "line 2: 'text' is missing; expected text (BEIR format)"),
        ('{"_id": "2", "title": "b", "text": 7}', "line 2: 'text' is 7; expected text (BEIR format)"),
        ('{"_id": "2", "title": "b", "text": " "}', "line 2: 'text' is empty (BEIR format)"),
        ('{"_id": "2", "title": [], "text": "B."}', "line 2: 'title' is of type list; expected text"),
        ('{"title": "b", "text": "B."}', "line 2: '_id' is missing; expected a text or a whole number"),
        ('{"_id": true, "title": "b", "text": "B."}', "line 2: '_id' is True; expected"),
        ('{"_id": "1", "title": "b", "text": "B."}', "line 2: id '1' was used before for another text; the first"),
        ("[" * 100_000, "line 2: JSON nested too deeply"),
        (json.dumps({"_id": "2", "text": "x" * 2000}), "line 2: longer than 1,000 bytes"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path: Path, line: str, reason: str) -> None:
    first, last = {"_id": "1", "title": "a", "text": "A."}, {"_id": 3, "title": "c", "text": "C."}
    limit = 1000 if "longer" in reason else 1 << 20
    titles, why = reasons(corpus(tmp_path / "c.jsonl", first, line, last), max_bytes=limit)
    assert titles == ["a", "c"]
    assert len(why) == 1
    assert why[0].startswith(reason)


def test_a_line_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"text": "A.", "title": "a"}\n{"text": "caf\xe9"}\n{"text": "C.", "title": "c"}')
    assert reasons(path) == (["a", "c"], ["line 2: not valid UTF-8 at byte 13"])


def test_a_bad_first_line_does_not_hide_the_rest(tmp_path: Path) -> None:
    titles, why = reasons(corpus(tmp_path / "c.jsonl", '{"text": "br', {"text": "B.", "title": "b"}))
    assert titles == ["b"]
    assert why[0].startswith("line 1: not valid JSON: Unterminated string")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"_id": "q1", "text": "Who?"}, "looks like a BEIR query file: '_id' and 'text' without 'title'"),
        ({"id": 1, "input": "Who?", "output": [{"answer": "x"}]}, "a KILT question file holds no documents"),
        (
            {"id": 1, "question": "Who?", "golden_answers": ["x"]},
            "a question file without 'passages' holds no documents",
        ),
        ({"name": "package", "version": 1}, "no known corpus format: the first record has keys 'name', 'version'"),
        ({}, "no known corpus format: the first record has keys none; expected 'text'"),
    ],
)
def test_files_without_documents_are_refused(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    titles, why = reasons(corpus(tmp_path / "q.jsonl", record, record))
    assert titles == []
    assert len(why) == 1
    assert why[0].startswith(reason)


@pytest.mark.parametrize(
    ("passages", "reason"),
    [
        ("none", "line 1: 'passages' is 'none'; expected a list"),
        ([7], "line 1: passage 0 is 7; expected text, or an object"),
        ([{"id": "p", "title": "T"}], "line 1: passage 0: 'text' is missing"),
    ],
)
def test_bad_benchmark_passages_are_named(tmp_path: Path, passages: Any, reason: str) -> None:
    titles, why = reasons(corpus(tmp_path / "q.jsonl", {"question": "?", "answers": [], "passages": passages}))
    assert titles == []
    assert why[0].startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n \n", "no text in it"),
        (b"[1, 2", "not valid JSON: "),
        (b"\x1f\x8b\x08\0\0", "compressed with gzip"),
        (b'[{"text": "' + b"x" * 2000 + b'"}]', "a JSON array of 2,014 bytes; above 1,000 write one object per line"),
        (
            ('{"text": "' + "x" * 2000 + '"}').encode("utf-16"),
            "4,026 bytes of UTF-16; convert it first: iconv -f utf-16",
        ),
    ],
)
def test_files_that_are_no_corpus_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    titles, why = reasons(path, max_bytes=1000)
    assert titles == []
    assert len(why) == 1
    assert why[0].startswith(reason)


def test_surrogates_and_nul_in_json_become_replacement_characters(tmp_path: Path) -> None:
    (document,) = documents(corpus(tmp_path / "a.jsonl", '{"text": "a \\ud800 b \\u0000 c", "id": "\\udfff"}'))
    assert document.passages[0].text == "a \ufffd b \ufffd c"
    assert document.id.endswith("#\ufffd")


def test_fingerprints_of_records(tmp_path: Path) -> None:
    path = corpus(tmp_path / "a.jsonl", {"text": "A.", "id": "1"}, {"text": "B.", "id": "2"})
    before = documents(path)
    assert [d.fingerprint for d in documents(path, words=50)] != [d.fingerprint for d in before]
    after = documents(corpus(path, {"text": "A.", "id": "1", "note": "new"}, {"text": "Changed.", "id": "2"}))
    assert [d.id for d in after] == [d.id for d in before]
    assert after[0].fingerprint == before[0].fingerprint
    assert after[1].fingerprint != before[1].fingerprint


def test_a_large_corpus_streams(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        for number in range(2000):
            file.write(json.dumps({"text": f"{number} " + "x" * 4000, "id": number}) + "\n")
    calls: list[int] = []
    tracemalloc.start()
    reading = read([path], max_bytes=1 << 20, progress=lambda stage, done, total: calls.append(done))
    count = sum(1 for _ in reading.documents)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000
    assert reading.skipped == []
    assert peak_bytes < 2_000_000 < path.stat().st_size
    assert calls == sorted(calls)
    assert calls[-1] == path.stat().st_size
    assert len(calls) > 5
