"""`paramrag collection ...`, `export` and `import`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import lance
import pytest

from .conftest import Run

Copy = Callable[[Path], Path]


def test_ls_lists_the_documents(run: Run, added: Path) -> None:
    ran = run("collection", "ls", added)
    assert ran.code == 0
    assert "3 documents, 3 passages" in ran.out
    rows = [
        line for line in ran.out.splitlines()[2:-1] if not line.startswith(" ")
    ]  # a long path goes on below its row
    assert [row.split("  ")[0] for row in rows] == ["Ferry of Brask", "mill", "tower"]
    listed = run("collection", "ls", added, "--json").json["documents"]
    assert [entry["title"] for entry in listed] == ["Ferry of Brask", "mill", "tower"]
    assert listed[0].keys() == {"id", "title", "passages"}


def test_tables_fit_80_columns_and_carry_no_colour_when_piped(run: Run, added: Path) -> None:
    shown = run("collection", "ls", added).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.endswith(" ")]


def test_show_counts_what_there_is(run: Run, encoded: Path) -> None:
    shown = run("collection", "show", encoded, "--json").json
    assert (shown["documents"], shown["passages"], shown["adapters"]) == (3, 3, 3)
    assert shown["items"] > 0
    assert [(entry["name"], entry["adapters"]) for entry in shown["recipes"]] == [("small", 3)]
    text = run("collection", "show", encoded).out
    assert "small" in text
    assert shown["recipes"][0]["id"] in text


def test_show_reads_a_document_and_a_passage(run: Run, encoded: Path, files: Path) -> None:
    passages = run("collection", "show", encoded, files / "docs" / "mill.txt", "--json").json["passages"]
    assert [entry["text"][:16] for entry in passages] == ["The mill at Orri"]
    recipe = run("collection", "show", encoded, "--json").json["recipes"][0]["id"]
    assert passages[0]["recipes"] == [recipe]
    assert run("collection", "show", encoded, passages[0]["passage_id"], "--json").json["passages"] == passages
    assert "Teska Varn" in run("collection", "show", encoded, "mill").out


@pytest.mark.parametrize("key", ["dropout", None])
def test_adapters_of_a_version_with_other_settings_are_told_and_passed_over(
    run: Run, encoded: Path, files: Path, tiny_model_folder: Path, copy: Copy, key: str | None
) -> None:
    directory = copy(encoded)
    (table,) = directory.glob("adapters_*.lance")
    foreign = lance.dataset(table)
    metadata = {name.decode(): value.decode() for name, value in foreign.schema.metadata.items()}
    recipe = json.loads(metadata["recipe"])
    if key:
        recipe[key] = 0.1  # a setting that this version does not know
    else:
        del recipe["seed"]  # a setting that another version did not know: its id cannot be that of this version
        metadata["recipe_id"] = "000000000000"
    foreign.update_schema_metadata(metadata | {"recipe": json.dumps(recipe)}, replace=True)
    shown = run("collection", "show", directory, "--json")
    assert shown.code == 0
    assert (shown.json["adapters"], shown.json["recipes"]) == (3, [])
    assert f"note: adapters under {metadata['recipe_id']} @ " in shown.err
    assert run("collection", "show", directory, "mill").code == 0
    assert run("collection", "verify", directory).code == 0
    options = ("--model", tiny_model_folder, "--max-new-tokens", 2)
    asked = run("ask", directory, "Who?", *options, "--mode", "t-rag")
    assert asked.code == 0
    assert "another version of ParamRAG" in asked.err
    refused = run("export", directory, "--passage", "abc", "--to", directory.parent / "out")
    assert refused.code == 2
    assert "another version of ParamRAG" in refused.err


def test_show_of_something_unknown_names_what_is_there(run: Run, added: Path) -> None:
    ran = run("collection", "show", added, "mil")
    assert ran.code == 2
    assert "no document 'mil'" in ran.err
    assert "mill.txt" in ran.err


def test_rm_forgets_documents_by_path_title_or_id(run: Run, encoded: Path, files: Path, copy: Copy) -> None:
    directory = copy(encoded)
    ran = run("collection", "rm", directory, files / "docs" / "mill.txt", "tower", "--json")
    assert ran.code == 0
    assert (ran.json["documents"], ran.json["passages"], ran.json["adapters"]) == (2, 2, 2)
    assert run("collection", "show", directory, "--json").json["documents"] == 1
    again = run("collection", "rm", directory, "tower")
    assert again.code == 2
    assert "no document 'tower'" in again.err


def test_rm_of_one_unknown_document_removes_none(run: Run, encoded: Path, copy: Copy) -> None:
    directory = copy(encoded)
    assert run("collection", "rm", directory, "tower", "towr").code == 2
    assert run("collection", "show", directory, "--json").json["documents"] == 3


def test_verify_finds_damage(run: Run, encoded: Path, copy: Copy) -> None:
    directory = copy(encoded)
    sound = run("collection", "verify", directory)
    assert (sound.code, sound.out.splitlines()[-1]) == (0, "all is well")
    (table,) = directory.glob("adapters_*.lance/data")
    next(table.iterdir()).write_bytes(b"not what was written")
    assert run("collection", "verify", directory).code != 0


def test_compact_reports_sizes(run: Run, encoded: Path, copy: Copy) -> None:
    directory = copy(encoded)
    report = run("collection", "compact", directory, "--json").json
    assert report["files_after"] <= report["files_before"]
    assert run("collection", "verify", directory, "--json").json["ok"] is True


def test_a_missing_collection_is_named(run: Run, tmp_path: Path) -> None:
    for verb in ("ls", "show", "verify", "compact"):
        ran = run("collection", verb, tmp_path / "none")
        assert ran.code == 2
        assert "there is no collection" in ran.err


def test_a_collection_travels_as_one_file(run: Run, encoded: Path, copy: Copy, tmp_path: Path) -> None:
    directory = copy(encoded)
    assert run("export", directory, "--to", tmp_path / "c.tar").code == 0
    assert run("import", tmp_path / "c.tar", tmp_path / "other").code == 0
    there = run("collection", "show", tmp_path / "other", "--json").json
    assert (there["documents"], there["adapters"]) == (3, 3)
    again = run("import", tmp_path / "c.tar", tmp_path / "other")
    assert again.code == 2
    assert "not an empty directory" in again.err


def test_an_adapter_travels_as_a_peft_directory(run: Run, encoded: Path, copy: Copy, tmp_path: Path) -> None:
    import numpy as np

    from paramrag.store import Collection

    directory = copy(encoded)
    collection = Collection.open(directory)
    first, second, _ = collection.passage_ids()
    row = collection.adapter(first).row.copy()
    ran = run("export", directory, "--passage", first, "--to", tmp_path / "peft", "--json")
    assert ran.code == 0
    assert "note: recipe 'small' trains for activation 'answer'" in ran.err
    assert {path.name for path in (tmp_path / "peft").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "paramrag.json",
    }
    assert run("import", tmp_path / "peft", directory, "--passage", second).code == 0
    again = Collection.open(directory)
    np.testing.assert_allclose(again.adapter(second).row, row, rtol=1e-6)


def test_several_adapters_are_summed_and_padded_for_vllm(run: Run, encoded: Path, tmp_path: Path) -> None:
    from paramrag.store import Collection

    ids = Collection.open(encoded).passage_ids()
    options = [part for key in ids for part in ("--passage", key)]
    assert run("export", encoded, *options, "--to", tmp_path / "sum", "--for", "vllm").code == 0
    assert json.loads((tmp_path / "sum" / "adapter_config.json").read_text())["r"] == 8
    unclear = run("import", tmp_path / "sum", encoded)
    assert unclear.code == 2
    assert "the sum of 3 adapters" in unclear.err
    (tmp_path / "sum" / "paramrag.json").write_text("{}")
    damaged = run("import", tmp_path / "sum", encoded)
    assert damaged.code == 2
    assert "paramrag.json cannot be read" in damaged.err


def test_several_adapters_are_summed_into_a_file_for_llama_cpp(
    run: Run, encoded: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    from gguf import GGUFReader

    from paramrag.store import Collection

    options = [part for key in Collection.open(encoded).passage_ids() for part in ("--passage", key)]
    options += ["--for", "llama.cpp", "--model", tiny_model_folder, "--to", tmp_path / "sum.gguf"]
    ran = run("export", encoded, *options)
    assert ran.code == 0
    assert "llama.cpp apply an adapter to every token" in " ".join(ran.err.split())
    reader = GGUFReader(tmp_path / "sum.gguf")
    assert reader.fields["general.architecture"].contents() == "llama"
    again = run("export", encoded, *options)
    assert again.code == 2
    assert "expected a new file" in again.err


def test_export_refuses_what_it_cannot_mean(run: Run, added: Path, encoded: Path, tmp_path: Path) -> None:
    assert "are about adapters" in run("export", encoded, "--to", tmp_path / "x", "--for", "vllm").err
    bare = run("export", added, "--passage", "abc", "--to", tmp_path / "x")
    assert bare.code == 2
    assert "encode first" in bare.err
    unknown = run("export", encoded, "--passage", "abc", "--to", tmp_path / "x")
    assert unknown.code == 2
    assert "'abc'" in unknown.err
