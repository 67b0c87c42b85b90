"""`paramrag eval` and `paramrag compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .conftest import Run

Copy = Callable[[Path], Path]


def test_eval_writes_the_stable_files(
    run: Run, encoded: Path, files: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    options = ("--data", files / "questions.jsonl", "--model", tiny_model_folder, "--modes", "t-rag, pt-rag")
    ran = run("eval", encoded, *options, "--out", tmp_path / "run", "--max-new-tokens", 3, "--json")
    assert ran.code == 0, ran.err
    assert ran.json == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert list(ran.json["modes"]) == ["t-rag", "pt-rag"]
    assert ran.json["modes"]["t-rag"].keys() >= {"n", "failed", "has_answer", "f1"}
    lines = (tmp_path / "run" / "pt-rag" / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["q1", "q2"]
    again = run("eval", encoded, *options, "--out", tmp_path / "run", "--max-new-tokens", 3, "--json")
    assert again.json == ran.json
    other = run("eval", encoded, *options, "--out", tmp_path / "run", "--max-new-tokens", 4)
    assert other.code == 2
    assert "different run" in other.err


def test_eval_shows_means_with_intervals(run: Run, encoded: Path, files: Path, tiny_model_folder: Path) -> None:
    options = ("--data", files / "questions.jsonl", "--model", tiny_model_folder, "--modes", "vanilla", "--limit", 1)
    ran = run("eval", encoded, *options, "--max-new-tokens", 3)
    assert ran.code == 0
    assert "has_answer" in ran.out
    assert "0.0 [0.0, 79.3]" in ran.out  # Wilson, one question, none right


def test_a_run_belongs_to_one_aggregator(
    run: Run, encoded: Path, files: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    options = ("--data", files / "questions.jsonl", "--model", tiny_model_folder, "--modes", "p-rag", "--limit", 1)
    merge = ("--out", tmp_path / "run", "--max-new-tokens", 2, "--aggregator")
    assert run("eval", encoded, *options, *merge, "ties:density=0.5").code == 0
    other = run("eval", encoded, *options, *merge, "ties:density=0.6")
    assert other.code == 2
    assert "different run" in other.err


def test_eval_without_adapters_counts_failures(run: Run, added: Path, files: Path, tiny_model_folder: Path) -> None:
    options = ("--data", files / "questions.jsonl", "--model", tiny_model_folder, "--modes", "p-rag")
    ran = run("eval", added, *options, "--json")
    assert ran.code == 1
    assert ran.json["modes"]["p-rag"]["failed"] == 2


def test_eval_in_no_mode_is_refused(run: Run, added: Path, files: Path) -> None:
    ran = run("eval", added, "--data", files / "questions.jsonl", "--modes", " , ")
    assert ran.code == 2
    assert "names nothing" in ran.err


def test_eval_encodes_what_it_retrieves(
    run: Run, added: Path, files: Path, copy: Copy, tiny_model_folder: Path
) -> None:
    directory = copy(added)
    options = ("--data", files / "questions.jsonl", "--model", tiny_model_folder, "--modes", "p-rag", "--top-k", 1)
    ran = run(
        "eval", directory, *options, "--encode", "--recipe", files / "small.yaml", "--max-new-tokens", 2, "--json"
    )
    assert ran.code == 0, ran.err
    assert "2 passages (0 have an adapter already)" in ran.err
    assert ran.json["modes"]["p-rag"]["failed"] == 0
    assert run("collection", "show", directory, "--json").json["adapters"] == 2


def test_eval_refuses_bad_input(run: Run, encoded: Path, files: Path, tmp_path: Path, tiny_model_folder: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"qestion": "?"}\n')
    good = ("--data", files / "questions.jsonl", "--model", tiny_model_folder)
    for arguments, said in (
        ((encoded, "--model", tiny_model_folder), "--data"),
        ((encoded, "--data", tmp_path / "none.jsonl"), "does not exist"),
        ((encoded, "--data", tmp_path / "bad.jsonl", "--model", tiny_model_folder), "unknown question format"),
        ((encoded, *good, "--modes", "t-rag,ptrag"), "did you mean 'pt-rag'"),
        ((encoded, *good, "--modes", ","), "names nothing"),
        ((encoded, *good, "--role", "noise"), "give both"),
        ((encoded, *good, "--task", "choice"), "did you mean 'choices'"),
        ((encoded, *good, "--metrics", "em,has_answer_judge"), "needs a judge"),
        ((encoded, *good, "--judge", "gpt"), "expected openai:MODEL"),
        ((encoded, *good, "--adapters", "replac-all"), "did you mean 'replace-all'"),
        ((encoded, *good, "--oracle"), "no question comes with passages"),
        ((tmp_path / "none", *good), "there is no collection"),
    ):
        ran = run("eval", *arguments)
        assert ran.code == 2, (arguments, ran)
        assert said in ran.err


def test_eval_under_conditions(run: Run, files: Path, tmp_path: Path, tiny_model_folder: Path) -> None:
    from .conftest import TEXTS

    passages = [{"title": name, "text": text, "gold": True} for name, text in TEXTS.items() if name.endswith(".txt")]
    others = [{"title": f"Lake {n}", "text": f"Lake {n} is deep and cold.", "gold": True} for n in range(4)]
    data = tmp_path / "towers.jsonl"
    entries = [
        {"id": f"q{n}", "question": f"What is {passage['title']}?", "answers": ["84"], "passages": [passage]}
        for n, passage in enumerate([*passages, *others])
    ]
    data.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    directory = tmp_path / "collection"
    assert run("add", directory, data).code == 0
    options = ("--data", data, "--model", tiny_model_folder, "--recipe", files / "small.yaml", "--max-new-tokens", 2)
    oracle = run("eval", directory, *options, "--modes", "t-rag", "--oracle", "--json")
    assert oracle.code == 0, oracle.err
    assert oracle.json["retrieval"]["hit@1"] == 1.0
    noisy = ("--oracle", "--text", "replace-all", "--modes", "pt-rag", "--adapters", "shuffled+scaled(0.5)")
    ran = run("eval", directory, *options, *noisy, "--encode", "--out", tmp_path / "run", "--json")
    assert ran.code in (0, 1), ran.err  # a lake yields no training item
    held = json.loads((tmp_path / "run" / "run.json").read_text())["configuration"]
    assert held.items() >= {"data": "towers", "given": "gold", "text": "replace-all"}.items()
    assert held["adapters"] == "shuffled+scaled(0.5)"
    assert ran.json["retrieval"]["hit@1"] == 0.0
    control = run(
        "eval", directory, *options, "--modes", "p-rag", "--limit", 2, "--shuffled-text", "--json", "--oracle"
    )
    assert control.code == 0, control.err
    assert "2 passages (0 have an adapter already)" in control.err


def test_eval_is_graded_by_a_judge(
    run: Run, encoded: Path, files: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    options = ("--data", files / "questions.jsonl", "--model", tiny_model_folder, "--modes", "vanilla", "--json")
    judged = ("--judge", f"local:{tiny_model_folder}", "--metrics", "em,contains", "--max-new-tokens", 3)
    ran = run("eval", encoded, *options, *judged, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert list(ran.json["modes"]["vanilla"])[2:] == ["em", "contains", "has_answer_judge", "judge_agreement"]
    verdicts = [json.loads(line) for line in (tmp_path / "run" / "judge.jsonl").read_text().splitlines()]
    assert {entry["id"] for entry in verdicts} <= {"q1", "q2"}


def _write_run(directory: Path, right: list[int]) -> Path:
    """Writes a run whose questions are answered right or wrong as told."""
    from paramrag.evaluate import Question, evaluate
    from paramrag.types import Answer, Query, Trace

    class Fixed:
        def ask_many(self, questions: list[Query]) -> list[Answer]:
            return [Answer(q.text, "t-rag", "yes" if right[int(q.text)] else "no", (), Trace()) for q in questions]

    evaluate({"t-rag": Fixed()}, [Question(f"q{n}", str(n), ("yes",)) for n in range(len(right))], directory)
    return directory


def test_compare_says_how_much_better_b_is(run: Run, tmp_path: Path) -> None:
    a, b = _write_run(tmp_path / "a", [1, 0, 0, 0]), _write_run(tmp_path / "b", [1, 1, 0, 0])
    found = run("compare", a, b, "--json").json
    assert (found["mean_a"], found["mean_b"], found["difference"]["mean"]) == (0.25, 0.5, 0.25)
    assert found["mcnemar"]["only_b"] == 1
    shown = run("compare", a, b)
    assert shown.code == 0
    assert "+0.2500" in shown.out


def test_compare_fails_below_a_bar(run: Run, tmp_path: Path) -> None:
    a, b = _write_run(tmp_path / "a", [1, 1, 0, 0]), _write_run(tmp_path / "b", [1, 0, 0, 0])
    assert run("compare", a, b, "--fail-below", "-0.3").code == 0
    ran = run("compare", a, b, "--fail-below", "-0.1")
    assert ran.code == 1
    assert "failed: B - A is -0.2500" in ran.err


def test_compare_refuses_bad_input(run: Run, tmp_path: Path) -> None:
    a = _write_run(tmp_path / "a", [1, 0])
    for arguments, said in (
        ((a, tmp_path / "none"), "no run"),
        ((a, a, "--metric", "has_answr"), "did you mean 'has_answer'"),
        ((a, a, "--mode", "trag"), "did you mean 't-rag'"),
        ((a, a, "--mode", "t-rag", "--mode", "t-rag", "--mode", "t-rag"), "once or twice"),
    ):
        ran = run("compare", *arguments)
        assert ran.code == 2, (arguments, ran)
        assert said in ran.err
