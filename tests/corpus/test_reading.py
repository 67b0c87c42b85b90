"""Folders, skip reasons, identity, progress."""

import os
import tempfile
from pathlib import Path

import pytest

from paramrag.corpus import Skipped, cut, read
from paramrag.errors import ConfigError
from paramrag.types import Document


def skipped(path: str | Path, max_bytes: int = 64 << 20) -> str:
    """The reason why a path gives no document."""
    reading = read([path], max_bytes=max_bytes)
    assert list(reading.documents) == []
    (entry,) = reading.skipped
    assert entry.path == str(path)
    return entry.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b" \n\t\n", "no text in it"),
        (b"\xef\xbb\xbf", "no text in it"),
        (b"caf\xe9 ol\xe9", "not valid UTF-8 at byte 3; convert it with: iconv -f WINDOWS-1252 -t UTF-8 (or whatever"),
        (b"\xff\xfeh\0i\0\0", "not valid UTF-16, which its byte-order mark announces"),
        (
            "hello".encode("utf-16-le"),
            "looks like UTF-16LE without a byte-order mark; convert it with: iconv -f UTF-16LE",
        ),
        ("hello".encode("utf-16-be"), "looks like UTF-16BE without a byte-order mark"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary file (a NUL byte at 8)"),
        (b"\x01\x02\x03\xff", "binary file (control characters)"),
        (b"PK\x03\x04\x14\0\x06", "a zip archive or office document"),
        (b"\x1f\x8b\x08\xff\xff", "compressed with gzip; unpack it first (gunzip)"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.unknown", "noending"])
def test_unreadable_content_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert skipped(path).startswith(reason)


def test_files_above_the_limit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * 1001)
    assert skipped(path, max_bytes=1000).startswith("1,001 bytes; above the limit of 1,000")
    assert len(list(read([path], max_bytes=1001).documents)) == 1


@pytest.mark.parametrize("name", ["missing.txt", "no/such/folder"])
def test_missing_paths_are_named(tmp_path: Path, name: str) -> None:
    assert skipped(tmp_path / name) == "no such file or folder"


def test_strange_paths_never_crash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert skipped(tmp_path / "pipe") == "not a regular file (a pipe, socket or device)"
    assert skipped(tmp_path / "broken") == "a link that leads nowhere"
    assert "symbolic links" in skipped(tmp_path / "loop")
    assert "null byte" in skipped("a\0b")
    assert skipped("x" * 5000) == "file name too long"


def test_names_that_are_not_utf8_become_printable(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("Some text.")
    (document,) = read([tmp_path]).documents
    assert document.id.endswith("/caf\\xe9.txt")
    assert document.title == "caf\\xe9"


def test_what_may_not_be_read_is_named() -> None:
    """Outside tmp_path, which no other user may enter: root must become another user to be refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.txt").write_text("Secret.")
        (folder / "a.txt").chmod(0)
        (folder / "closed").mkdir(mode=0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            reading = read([folder])
            assert list(reading.documents) == []
        finally:
            os.seteuid(user)
        assert sorted(entry.reason for entry in reading.skipped) == ["permission denied"] * 2
        (folder / "closed").chmod(0o755)


def test_folders_are_walked_in_order_without_hidden_entries_or_repeats(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/c.txt", ".hidden/x.txt", "a/.secret", "c/deep/er/f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"Text of {name}.")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again.txt").symlink_to(tmp_path / "b.txt")
    reading = read([tmp_path, tmp_path / "b.txt", tmp_path / ".hidden" / "x.txt"])
    names = [Path(document.id).relative_to(tmp_path.resolve()).as_posix() for document in reading.documents]
    assert names == ["a/c.txt", "a/z.txt", "b.txt", "c/deep/er/f.txt", ".hidden/x.txt"]
    assert reading.skipped == []


def test_one_bad_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Good.")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "c.txt").write_text("Good too.")
    reading = read([str(tmp_path), "gone"])
    assert [document.title for document in reading.documents] == ["a", "c"]
    assert [Path(entry.path).name for entry in reading.skipped] == ["gone", "b.txt"]


def test_a_file_that_vanishes_while_reading_is_named(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Text.")
    reading = read([tmp_path])
    next(reading.documents)
    (tmp_path / "b.txt").unlink()
    assert list(reading.documents) == []
    assert reading.skipped == [Skipped(str(tmp_path / "b.txt"), "no such file or directory")]


def test_identity_and_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One text. " * 60)

    def reading(where: str | Path, words: int = 100) -> Document:
        (document,) = read([where], words=words).documents
        return document

    first = reading(path)
    assert reading(path) == first
    monkeypatch.chdir(tmp_path)
    assert reading("a.txt") == first
    assert reading("a.txt", words=50).fingerprint != first.fingerprint
    path.write_text("Another text. " * 60)
    assert reading(path).id == first.id
    assert reading(path).fingerprint != first.fingerprint


def test_a_lone_path_is_not_taken_for_its_letters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text.")
    assert len(list(read(str(tmp_path)).documents)) == 1


def test_progress_counts_bytes_to_the_end(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(("x" * 31 + " ") * 40_000)
    list(read([tmp_path, "gone"], words=1000, progress=lambda *call: calls.append(call)).documents)
    total = 3 * 32 * 40_000
    assert [stage for stage, _, _ in calls] == ["reading"] * len(calls)
    assert [done for _, done, _ in calls] == [total // 3, total * 2 // 3, total]
    assert {among for _, _, among in calls} == {total}


def test_reading_is_lazy(tmp_path: Path) -> None:
    calls: list[int] = []
    (tmp_path / "a.txt").write_text("Text.")
    reading = read([tmp_path], progress=lambda stage, done, total: calls.append(done))
    assert calls == []
    (document,) = reading.documents
    assert document.passages == cut("Text.", title="a")


@pytest.mark.parametrize(("words", "max_bytes"), [(0, 1), (1, 0)])
def test_senseless_limits_are_refused(words: int, max_bytes: int) -> None:
    with pytest.raises(ConfigError, match="expected both to be at least 1"):
        read([], words=words, max_bytes=max_bytes)
