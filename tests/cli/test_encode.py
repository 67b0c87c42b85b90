"""`paramrag encode`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .conftest import Run

Copy = Callable[[Path], Path]


def test_encode_makes_what_is_missing_and_nothing_twice(
    run: Run, added: Path, files: Path, copy: Copy, tiny_model_folder: Path
) -> None:
    directory = copy(added)
    options = ("--model", tiny_model_folder, "--recipe", files / "small.yaml", "--json")
    first = run("encode", directory, "--limit", 1, *options).json
    assert (first["encoded"], first["present"]) == (1, 0)
    second = run("encode", directory, *options).json
    assert (second["encoded"], second["present"], second["failed"]) == (2, 1, [])
    assert second.keys() >= {"recipe", "recipe_id", "model", "storage", "items", "seconds"}
    third = run("encode", directory, *options).json
    assert (third["encoded"], third["present"]) == (0, 3)


def test_encode_goes_on_with_the_recipe_the_collection_has(
    run: Run, encoded: Path, copy: Copy, tmp_path: Path, tiny_model_folder: Path
) -> None:
    directory = copy(encoded)
    (tmp_path / "new.txt").write_text("The bell of Lome was cast by Arn Hult in 1790. It hangs in the northern gate.")
    run("add", directory, tmp_path / "new.txt")
    ran = run("encode", directory, "--model", tiny_model_folder)
    assert ran.code == 0
    made_items, made_adapters, _ = ran.out.splitlines()
    assert made_items.startswith("made 4 training items for 1 passage")
    assert made_adapters.startswith("made 1 adapter in ")
    assert made_adapters.endswith("3 were there already")
    assert [entry["adapters"] for entry in run("collection", "show", directory, "--json").json["recipes"]] == [4]


def test_a_dry_run_tells_the_cost_and_stores_nothing(
    run: Run, added: Path, files: Path, tiny_model_folder: Path
) -> None:
    options = ("--model", tiny_model_folder, "--recipe", files / "small.yaml", "--dry-run")
    estimate = run("encode", added, *options, "--json").json
    assert (estimate["passages"], estimate["present"], estimate["unaugmented"]) == (3, 0, 3)
    assert min(estimate[key] for key in ("seconds", "bytes", "tokens")) >= 0
    half = run("encode", added, *options, "--storage", "fp16", "--json").json
    assert half["bytes"] * 2 == estimate["bytes"]
    shown = run("encode", added, *options)
    assert "3 passages (0 have an adapter already)" in shown.out
    assert run("collection", "show", added, "--json").json["adapters"] == 0


def test_another_augmenter_is_another_recipe(
    run: Run, encoded: Path, copy: Copy, files: Path, tiny_model_folder: Path
) -> None:
    directory = copy(encoded)
    options = ("--recipe", files / "small.yaml", "--model", tiny_model_folder, "--augmenter", "items")
    ran = run("encode", directory, *options)
    assert ran.code == 2  # none were put into the collection
    assert "items" in ran.err


def test_bad_input_is_refused(run: Run, added: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rnk: 2\n")
    model = ("--model", tiny_model_folder)
    for arguments, said in (
        ((tmp_path / "none", *model), "there is no collection"),
        ((added, "--model", tmp_path / "none"), "no file or folder"),
        ((added, *model, "--recipe", "defalt"), "did you mean 'default'"),
        ((added, *model, "--recipe", tmp_path / "bad.yaml"), "did you mean 'rank'"),
        ((added, *model, "--augmenter", "ruls"), "did you mean 'rules'"),
        ((added, *model, "--storage", "fp8"), "fp8"),
        ((added, *model, "--device", "gpu"), "gpu"),
        ((added, *model, "--dtype", "fp8"), "fp8"),
        ((added, *model, "--limit", "0"), "--limit"),
    ):
        ran = run("encode", *arguments)
        assert ran.code == 2, (arguments, ran)
        assert said in ran.err
        assert ran.out == ""
