"""`paramrag dynamic train`, and what its hypernetwork is good for: encode, ask, eval, analyze."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Run

Copy = Callable[[Path], Path]
RECIPE = """
rank: 2
modules: [down_proj]
layers: last
hypernet:
  width: 8
  heads: 2
  blocks: 1
  basis: 4
  passages: 4
  batch_passages: 2
  direct_epochs: 2
  exact_epochs: 1
"""


@pytest.fixture(scope="session")
def hypernet(run: Run, tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("hypernet")
    (folder / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    options = ("--recipe", folder / "tiny.yaml", "--model", tiny_model_folder, "--json")
    ran = run("dynamic", "train", "--out", folder / "h", *options)
    assert ran.code in (0, 1)  # 1: so little training collapses
    assert ran.json.keys() >= {
        "hypernet",
        "held_loss",
        "swapped_loss",
        "said",
        "mean_cosine",
        "effective_rank",
        "alarms",
    }
    assert (ran.code == 1) == bool(ran.json["alarms"])
    return folder / "h"


@pytest.fixture
def predicted(run: Run, encoded: Path, hypernet: Path, copy: Copy, tiny_model_folder: Path) -> Path:
    """A collection with trained and with predicted adapters."""
    directory = copy(encoded)
    options = ("--method", "dynamic", "--hypernet", hypernet, "--model", tiny_model_folder)
    made = run("encode", directory, *options, "--json").json
    assert (made["encoded"], made["present"], made["items"]) == (3, 0, 0)
    shown = run("encode", directory, *options)
    assert "3 were there already" in shown.out
    return directory


def test_predicted_adapters_are_asked_in_modes_of_their_own(run: Run, predicted: Path, tiny_model_folder: Path) -> None:
    options = ("--model", tiny_model_folder, "--max-new-tokens", 3, "--json")
    ids = {}
    for mode in ("p-rag", "dyp-rag", "dypt-rag"):
        hits = run("ask", predicted, "Who built the mill?", "--mode", mode, *options).json["hits"]
        assert all(hit["in_text"] == (mode == "dypt-rag") for hit in hits)
        ids[mode] = hits[0]["adapter_id"]
    assert ids["dyp-rag"] == ids["dypt-rag"] != ids["p-rag"]
    for mode in ("pt-rag-late", "dypt-rag-late"):  # trains its task adapter, which --compare would not wait for
        run("ask", predicted, "Who built the mill?", "--mode", mode, *options)
    compared = run("ask", predicted, "Who built the mill?", "--compare", *options).json
    trained = ["vanilla", "t-rag", "t-rag-late", "p-rag", "p-rag-late", "pt-rag", "pt-rag-late"]
    assert list(compared["answers"]) == [*trained, "dyp-rag", "dyp-rag-late", "dypt-rag", "dypt-rag-late"]


def test_both_kinds_are_measured_in_one_run(run: Run, predicted: Path, files: Path, tiny_model_folder: Path) -> None:
    options = (
        "--data",
        files / "questions.jsonl",
        "--model",
        tiny_model_folder,
        "--modes",
        "p-rag,dyp-rag,dypt-rag,dypt-rag-late",
    )
    found = run("eval", predicted, *options, "--json").json["modes"]
    assert [entry["failed"] for entry in found.values()] == [0, 0, 0, 0]
    recipes = run("collection", "show", predicted, "--json").json["recipes"]
    chosen = next(entry for entry in recipes if entry["name"] != "small")
    collapse = run("analyze", "collapse", predicted, "--recipe", chosen["name"], "--model", tiny_model_folder, "--json")
    assert collapse.json["n"] == 3


def test_refined_adapters_are_apart_from_predicted_ones(
    run: Run, predicted: Path, hypernet: Path, tiny_model_folder: Path
) -> None:
    options = ("--method", "dynamic", "--hypernet", hypernet, "--refine", 2, "--model", tiny_model_folder, "--json")
    made = run("encode", predicted, *options, "--augmenter", "rules").json
    assert (made["encoded"], made["failed"]) == (3, [])
    assert made["items"] > 0
    assert run("ask", predicted, "Who?", "--mode", "dyp-rag", "--model", tiny_model_folder).code == 2  # which of both?


def test_training_goes_on_in_its_folder(run: Run, hypernet: Path, tmp_path: Path, tiny_model_folder: Path) -> None:
    shutil.copytree(hypernet, tmp_path / "h")
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    options = ("--recipe", tmp_path / "tiny.yaml", "--model", tiny_model_folder)
    again = run("dynamic", "train", "--out", tmp_path / "h", *options)
    assert "answers said" in again.out
    assert "next: paramrag encode DIR --method dynamic" in again.out
    before, after = ((folder / "curves.jsonl").read_text("utf-8") for folder in (hypernet, tmp_path / "h"))
    assert before == after
    other = run("dynamic", "train", "--out", tmp_path / "h", *options, "--passages", 3)
    assert other.code == 2
    assert "holds another training" in other.err


def test_a_collection_is_learnt_from_and_held_out(
    run: Run, encoded: Path, copy: Copy, tmp_path: Path, tiny_model_folder: Path
) -> None:
    recipe = RECIPE.replace("passages: 4", "passages: 3") + "augmentation:\n  augmenter: rules\n"
    (tmp_path / "r.yaml").write_text(recipe, encoding="utf-8")
    options = ("--recipe", tmp_path / "r.yaml", "--model", tiny_model_folder, "--json")
    found = run("dynamic", "train", copy(encoded), "--out", tmp_path / "h", *options).json
    assert found["passages"] == 3 + 2  # one of the collection's three is held out
    assert found["held_out"] in (3, 4)  # rules may find no question in that one


def test_options_that_do_not_go_together_are_refused(
    run: Run, encoded: Path, hypernet: Path, tiny_model_folder: Path
) -> None:
    model = ("--model", tiny_model_folder)
    for arguments, said in (
        (("encode", encoded, "--method", "dynamic", *model), "no hypernetwork is shipped for"),
        (("encode", encoded, "--hypernet", hypernet, *model), "belongs to --method dynamic"),
        (("encode", encoded, "--method", "dynamic", "--hypernet", encoded, *model), "no hypernetwork in"),
        (("ask", encoded, "Who?", "--mode", "dyp-rag", *model), "holds no predicted adapters"),
        (("ask", encoded, "Who?", "--mode", "dyprag", *model), "did you mean 'dyp-rag'"),
        (("dynamic", "train", "--out", encoded / "h", "--recipe", "default", *model), "has no hypernet section"),
    ):
        ran = run(*arguments)
        assert ran.code == 2
        assert said in " ".join(ran.err.replace("│", " ").split()), ran.err


def test_a_hypernetwork_of_another_model_is_refused(
    run: Run, encoded: Path, hypernet: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    shutil.copytree(hypernet, tmp_path / "h")
    about = json.loads((tmp_path / "h" / "hypernet.json").read_text("utf-8"))
    (tmp_path / "h" / "hypernet.json").write_text(json.dumps(about | {"base": "0123", "base_name": "other"}))
    ran = run("encode", encoded, "--method", "dynamic", "--hypernet", tmp_path / "h", "--model", tiny_model_folder)
    assert ran.code == 2
    assert "was trained for base model other" in ran.err
