from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paramrag.augment.precomputed import Precomputed
from paramrag.errors import AugmentError, ConfigError
from paramrag.types import Passage

TOWER = Passage("The Zorbik Tower was designed by Ottilie Varn and opened in 1912 in Marl.", "Zorbik Tower")
RIVER = Passage("The Quill is a river of 90 kilometres in Vell.", "Quill")


def written(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_items_find_their_passage_by_id_title_or_text(tmp_path: Path) -> None:
    path = written(
        tmp_path / "items.jsonl",
        {"passage_id": TOWER.id, "question": "Who designed the Zorbik Tower?", "answer": "Ottilie Varn"},
        "",
        {"title": "Zorbik Tower", "question": "The Zorbik Tower opened in", "answer": "1912", "kind": "cloze"},
        {"text": f"  {RIVER.text.upper()}", "question": "How long is the Quill?", "answer": "90 kilometres"},
        {"title": "Quill", "answer": RIVER.text, "kind": "passage"},
        {"title": "Nobody", "question": "Who is Nobody?", "answer": "nobody"},
    )
    make = Precomputed(path)
    tower, river = make([TOWER, RIVER])
    assert [(item.answer, item.kind) for item in tower] == [("Ottilie Varn", "qa"), ("1912", "cloze")]
    assert [(item.answer, item.kind) for item in river] == [("90 kilometres", "qa"), (RIVER.text, "passage")]
    assert tower[0].span == (33, 45)
    assert dict(make.report.kept) == {"qa": 2, "cloze": 1, "passage": 1}


def test_invalid_items_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "items.jsonl",
        {"title": "Quill", "question": "How long is it?", "answer": "90 kilometres"},
        {"title": "Quill", "question": "Who owns the Quill?", "answer": "Arno Bex"},
    )
    make = Precomputed(path)
    assert make([RIVER]) == [[]]
    assert make.report.rejected == {"question does not name its subject": 1, "answer is not in the passage": 1}


def test_a_title_of_two_passages_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "i.jsonl", {"title": "Quill", "question": "How long is the Quill?", "answer": "90"})
    with pytest.raises(AugmentError, match=r"i\.jsonl, line 1: the title 'Quill' belongs to 2 passages"):
        Precomputed(path)([RIVER, Passage("Another Quill of 90.", "Quill")])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: holds a list"),
        ({"question": "Q?", "answer": "a"}, "line 2: names no passage; expected one of passage_id, title, text"),
        ({"title": "Quill", "question": "Q?"}, "line 2: answer is None"),
        ({"title": "Quill", "question": "", "answer": "a"}, "line 2: question is ''"),
        ({"title": "Quill", "question": "Q?", "answer": "a", "kind": "q&a"}, "line 2: kind is 'q&a'; expected one of"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, row: Any, message: str) -> None:
    good = {"title": "Quill", "question": "How long is the Quill?", "answer": "90"}
    path = written(tmp_path / "items.jsonl", good, row)
    with pytest.raises(AugmentError, match=r"items\.jsonl") as caught:
        Precomputed(path)
    assert message in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        Precomputed(tmp_path / "none.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AugmentError, match="not UTF-8"):
        Precomputed(tmp_path / "b.jsonl")


def test_augmentation_files_of_prag_are_read(tmp_path: Path) -> None:
    rewrite = "Ottilie Varn designed the Zorbik Tower, which opened its doors in Marl in 1912."
    qa = [
        {"question": "Who designed the Zorbik Tower?", "answer": "Ottilie Varn", "full_answer": "It was Ottilie Varn."}
    ]
    entry = {"pid": 0, "passage": TOWER.text, "llama3.2-1b-instruct_rewrite": rewrite, "llama3.2-1b-instruct_qa": qa}
    path = tmp_path / "total.json"
    path.write_text(json.dumps([{"question": "x", "passages": [TOWER.text], "augment": [entry]}]), encoding="utf-8")
    items = Precomputed(path)([TOWER])[0]
    assert [(item.kind, item.answer) for item in items] == [("qa", "Ottilie Varn"), ("rewrite", rewrite)]
    assert len(Precomputed(path, questions=0, rewrites=1)([TOWER])[0]) == 1
    path.write_text(json.dumps([{"augment": [{"text": "?"}]}]), encoding="utf-8")
    with pytest.raises(AugmentError, match="record 1, passage 1"):
        Precomputed(path)


def test_the_id_follows_the_content(tmp_path: Path) -> None:
    row = {"title": "Quill", "question": "How long is the Quill?", "answer": "90"}
    first = Precomputed(written(tmp_path / "a.jsonl", row)).id
    assert Precomputed(written(tmp_path / "b.jsonl", row)).id == first
    assert Precomputed(written(tmp_path / "b.jsonl", row | {"answer": "90 kilometres"})).id != first
