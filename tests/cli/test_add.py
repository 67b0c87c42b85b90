"""`paramrag add`: what it says and how it ends, for good input and bad."""

from __future__ import annotations

from pathlib import Path

from .conftest import Run


def test_adding_says_what_came_and_what_to_do_next(run: Run, files: Path, tmp_path: Path) -> None:
    ran = run("add", tmp_path / "c", files / "docs")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == f"documents: 3 added; 3 new passages in {tmp_path / 'c'}"
    assert f"next: paramrag encode {tmp_path / 'c'}" in ran.out
    assert ran.err == ""


def test_adding_again_changes_nothing(run: Run, files: Path, tmp_path: Path) -> None:
    run("add", tmp_path / "c", files / "docs")
    again = run("add", tmp_path / "c", files / "docs", "--json")
    assert again.json == {"added": 0, "replaced": 0, "unchanged": 3, "removed": 0, "passages": 0, "skipped": []}


def test_a_changed_file_replaces_its_passages(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The gate of Lome is blue.")
    run("add", tmp_path / "c", tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("The gate of Lome is red.")
    assert run("add", tmp_path / "c", tmp_path / "a.txt", "--json").json["replaced"] == 1
    assert "red" in run("collection", "show", tmp_path / "c", tmp_path / "a.txt").out


def test_a_record_that_left_its_file_is_removed_and_a_corpus_file_is_one_name_for_its_records(
    run: Run, tmp_path: Path
) -> None:
    corpus, directory = tmp_path / "facts.jsonl", tmp_path / "c"
    lines = [f'{{"id": "{name}", "text": "The gate of {name} is blue."}}\n' for name in ("Lome", "Orrin", "Brask")]
    corpus.write_text("".join(lines))
    run("add", directory, corpus)
    corpus.write_text("".join(lines[:2]))
    assert run("add", directory, corpus).out.startswith("documents: 2 unchanged, 1 removed; 0 new passages")
    assert len(run("collection", "show", directory, corpus, "--json").json["passages"]) == 2
    corpus.write_text("")
    kept = run("add", directory, corpus)
    assert kept.code == 2
    assert "facts.jsonl: empty file" in kept.err
    assert "facts.jsonl: what it gave before is kept (2 documents)" in kept.err
    assert run("collection", "rm", directory, corpus, "--json").json["documents"] == 2


def test_words_decide_how_long_passages_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("The river is wide. " * 100)
    few = run("add", tmp_path / "few", tmp_path / "long.txt", "--words", 200, "--json").json
    many = run("add", tmp_path / "many", tmp_path / "long.txt", "--words", 20, "--json").json
    assert many["passages"] > few["passages"] >= 2


def test_a_file_that_cannot_be_read_is_listed_and_told_by_the_exit_code(run: Run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0\0")
    (tmp_path / "empty.txt").touch()
    ran = run("add", tmp_path / "c", files / "docs", tmp_path / "picture.png", tmp_path / "empty.txt")
    assert ran.code == 1
    assert "3 added" in ran.out
    assert "skipped 2:" in ran.err
    assert "picture.png: binary file" in ran.err
    assert "empty.txt: empty file" in ran.err
    shown = run("add", tmp_path / "c", tmp_path / "picture.png", files / "docs", "--json")
    assert shown.code == 1
    assert shown.json["skipped"][0]["path"].endswith("picture.png")


def test_nothing_readable_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    ran = run("add", tmp_path / "c", tmp_path / "empty.txt")
    assert ran.code == 2
    assert "none added" in ran.out


def test_a_path_that_does_not_exist_is_refused_before_anything_is_made(run: Run, tmp_path: Path) -> None:
    ran = run("add", tmp_path / "c", tmp_path / "typo.txt")
    assert ran.code == 2
    assert "does not exist" in ran.err
    assert not (tmp_path / "c").exists()


def test_a_directory_that_is_no_collection_is_refused(run: Run, files: Path) -> None:
    ran = run("add", files, files / "docs")
    assert ran.code == 2
    assert "is not a collection" in ran.err
