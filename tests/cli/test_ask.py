"""`paramrag ask`: the stable JSON, the pretty answer, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from paramrag.modes import MODES, modes_with

from .conftest import Run

STATIC = modes_with("static")
QUESTION = "Who designed the Zorbik Tower?"
Copy = Callable[[Path], Path]


def test_json_is_the_stable_object(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    options = ("--mode", "pt-rag", "--json", "--max-new-tokens", 4)
    ran = run("ask", encoded, QUESTION, "--model", tiny_model_folder, *options)
    assert ran.code == 0
    answer = ran.json
    assert answer.keys() == {"question", "mode", "answer", "hits", "timings_ms", "tokens"}
    assert (answer["question"], answer["mode"]) == (QUESTION, "pt-rag")
    best = answer["hits"][0]
    assert best.keys() == {"passage_id", "document_id", "title", "score", "in_text", "adapter_id", "weight"}
    assert (best["title"], best["in_text"], best["weight"]) == ("tower", True, 0.75)
    assert best["adapter_id"].startswith(best["passage_id"])
    assert answer["timings_ms"].keys() == {"retrieve", "gather", "prefill", "decode", "total"}
    assert answer["tokens"]["completion"] <= 4


@pytest.mark.parametrize("mode", STATIC)
def test_a_mode_decides_where_passages_go(run: Run, encoded: Path, tiny_model_folder: Path, mode: str) -> None:
    answer = run("ask", encoded, QUESTION, "--model", tiny_model_folder, "--mode", mode, "--json").json
    hits = answer["hits"]
    assert bool(hits) == (mode != "vanilla")
    assert all(hit["in_text"] == MODES[mode].text for hit in hits)
    assert all((hit["adapter_id"] is not None) == MODES[mode].weights for hit in hits)


def test_text_k_and_adapter_k_make_finer_modes(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    options = ("--text-k", 1, "--adapter-k", 2, "--json", "--weighting", "score", "--aggregator", "mean")
    hits = run("ask", encoded, "tower, mill and ferry", "--model", tiny_model_folder, *options).json["hits"]
    assert [hit["in_text"] for hit in hits] == [True, False]
    assert [hit["adapter_id"] is not None for hit in hits] == [True, True]
    assert hits[0]["weight"] == 1.0 > hits[1]["weight"] > 0


@pytest.mark.parametrize("spec", ["svd:rank=1", "ties:density=0.5", "dare:seed=1,rank=2", "dare_ties", "orthogonal"])
def test_adapters_are_combined_as_asked(run: Run, encoded: Path, tiny_model_folder: Path, spec: str) -> None:
    options = ("--model", tiny_model_folder, "--mode", "p-rag", "--json", "--aggregator", spec)
    hits = run("ask", encoded, "tower, mill and ferry", *options).json["hits"]
    assert len([hit for hit in hits if hit["adapter_id"]]) > 1


def test_the_answer_is_shown_with_sources_and_times(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    ran = run("ask", encoded, QUESTION, "--model", tiny_model_folder, "--max-new-tokens", 3)
    assert ran.code == 0
    for word in ("source", "score", "in text", "weight", "tower", "pt-rag", "prefill", "decode", "total"):
        assert word in ran.out
    assert "\x1b" not in ran.out
    assert ran.err == ""


def test_compare_shows_the_modes_side_by_side(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    options = ("--compare", "--model", tiny_model_folder, "--max-new-tokens", 3)
    assert run("ask", encoded, QUESTION, "--mode", "pt-rag-late", "--model", tiny_model_folder).code == 0
    shown = run("ask", encoded, QUESTION, *options)
    assert shown.code == 0
    assert all(any(line.startswith(f"{mode} ") for line in shown.out.splitlines()) for mode in STATIC)
    found = run("ask", encoded, QUESTION, *options, "--json").json
    assert list(found["answers"]) == list(STATIC)
    assert found["errors"] == {}
    assert found["answers"]["vanilla"]["tokens"]["prompt"] < found["answers"]["t-rag"]["tokens"]["prompt"]


def test_text_and_weights_answer_apart_unless_that_had_to_be_trained_first(
    run: Run, encoded: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramrag.parameterize.model_adapter.cache_folder", lambda: tmp_path)
    options = ("--model", tiny_model_folder, "--max-new-tokens", 3)
    assert run("ask", encoded, QUESTION, *options, "--json").json["mode"] == "pt-rag"
    assert not list(tmp_path.iterdir())
    assert run("ask", encoded, QUESTION, *options, "--mode", "pt-rag-late").code == 0
    assert run("ask", encoded, QUESTION, *options, "--json").json["mode"] == "pt-rag-late"
    assert "pt-rag: first words" in run("ask", encoded, QUESTION, *options, "--stream").err


def test_compare_does_not_train_a_task_adapter(
    run: Run, encoded: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramrag.parameterize.model_adapter.cache_folder", lambda: tmp_path)
    options = ("--compare", "--model", tiny_model_folder, "--max-new-tokens", 3, "--json")
    ran = run("ask", encoded, QUESTION, *options)
    assert list(ran.json["answers"]) == [mode for mode in STATIC if not MODES[mode].task]
    assert "t-rag-late, pt-rag-late: left out" in ran.err
    assert "--mode pt-rag-late" in ran.err
    assert not list(tmp_path.iterdir())


def test_compare_without_adapters_still_answers_from_text(run: Run, added: Path, tiny_model_folder: Path) -> None:
    ran = run("ask", added, QUESTION, "--compare", "--model", tiny_model_folder, "--max-new-tokens", 3, "--json")
    assert ran.code == 1
    assert list(ran.json["answers"]) == ["vanilla", "t-rag"]
    assert list(ran.json["errors"])[:2] == ["p-rag", "p-rag-late"]
    assert "paramrag encode" in ran.err


def test_stream_shows_the_same_answer(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    options = ("--mode", "pt-rag", "--model", tiny_model_folder, "--max-new-tokens", 6)
    whole = run("ask", encoded, QUESTION, *options, "--json").json["answer"]
    ran = run("ask", encoded, QUESTION, *options, "--stream")
    assert ran.code == 0
    assert ran.out.strip() == whole.strip()
    assert "first words after" in ran.err


def test_only_one_of_the_given_choices_is_said(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    options = ("--choices", "Ottilie Varn, nobody", "--model", tiny_model_folder, "--mode", "pt-rag")
    said = run("ask", encoded, QUESTION, *options, "--json").json["answer"]
    assert said in ("Ottilie Varn", "nobody")
    assert run("ask", encoded, QUESTION, *options, "--stream").out.strip() == said
    assert run("ask", encoded, QUESTION, *options, "--explain", "--json").json["answer"] == said


def test_sampling_is_seeded(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    def sampled(seed: int) -> str:
        options = ("--temperature", 1.5, "--seed", seed, "--model", tiny_model_folder, "--json")
        return str(run("ask", encoded, QUESTION, *options).json["answer"])

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1


def test_a_question_that_finds_nothing_says_so(run: Run, encoded: Path, tiny_model_folder: Path) -> None:
    ran = run("ask", encoded, "zzzz", "--mode", "t-rag", "--model", tiny_model_folder, "--max-new-tokens", 2)
    assert ran.code == 0
    assert "no passage was found" in ran.out


def test_bad_input_is_refused(run: Run, added: Path, encoded: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    model = ("--model", tiny_model_folder)
    for arguments, said in (
        ((tmp_path / "none", QUESTION, *model), "there is no collection"),
        ((added, QUESTION, *model), "paramrag encode"),
        ((encoded, "  ", *model), "the question is empty"),
        ((encoded, QUESTION, *model, "--mode", "trag"), "did you mean 't-rag'"),
        ((encoded, QUESTION, *model, "--retriever", "bm52"), "did you mean 'bm25'"),
        ((encoded, QUESTION, *model, "--aggregator", "means"), "did you mean 'mean'"),
        ((encoded, QUESTION, *model, "--aggregator", "ties:density=2"), "density is '2'; expected the share"),
        ((encoded, QUESTION, *model, "--weighting", "scores"), "did you mean 'score'"),
        ((encoded, QUESTION, *model, "--recipe", "smal"), "unknown recipe 'smal'"),
        ((encoded, QUESTION, *model, "--top-p", "2"), "--top-p"),
        ((encoded, QUESTION, *model, "--stream", "--json"), "--stream"),
        ((encoded, QUESTION, *model, "--choices", ","), "names nothing"),
        ((encoded, QUESTION, *model, "--compare", "--text-k", 1), "leave out --text-k"),
    ):
        ran = run("ask", *arguments)
        assert ran.code == 2, (arguments, ran)
        assert said in ran.err
        assert ran.out == ""


def test_several_recipes_have_to_be_chosen_from(
    run: Run, encoded: Path, copy: Copy, files: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    directory = copy(encoded)
    (tmp_path / "other.yaml").write_text((files / "small.yaml").read_text() + "seed: 7\n")
    run("encode", directory, "--model", tiny_model_folder, "--recipe", tmp_path / "other.yaml")
    unclear = run("ask", directory, QUESTION, "--model", tiny_model_folder)
    assert unclear.code == 2
    assert "several recipes" in unclear.err
    for name in ("small", "other"):
        assert run("ask", directory, QUESTION, "--model", tiny_model_folder, "--recipe", name).code == 0
