import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from paramrag.errors import EvaluationError
from paramrag.evaluate import Question, Summary, evaluate, read_run, read_run_samples
from paramrag.types import Query

from .answering import Table, question

# Ten questions and what the table says; the comment is (has_answer, em, f1, words) by hand.
TEN = [
    (question(0, "Paris"), "Paris"),  # 1, 1, 1, 1
    (question(1, "St. Louis"), "It is St. Louis."),  # 1, 0, 2/3, 4
    (question(2, "no"), "I do not know"),  # 0, 0, 0, 4
    (question(3, "no"), "No."),  # 1, 1, 1, 1
    (question(4, "1"), "1999"),  # 0, 0, 0, 1
    (question(5, "New York", "NYC"), "New York City"),  # 1, 0, 4/5, 3
    (question(6, "1,000"), "1000"),  # 1, 1, 1, 1
    (question(7, "Rome"), ""),  # 0, 0, 0, 0
    (question(8, "The"), "the end"),  # 0, 0, 0, 2
    (question(9, "Oslo"), None),  # fails: 0, 0, 0, 0
]
QUESTIONS = [entry for entry, _ in TEN]
TEXTS = {entry.question: said for entry, said in TEN if said is not None}
HITS = {f"What is {number}?": [number, 50, 51] for number in range(4)} | {
    "What is 4?": [50, 4, 51],
    "What is 5?": [50, 51, 5],
    "What is 6?": [50, 51, 52],
    "What is 7?": [],
    "What is 8?": [8],
}


def run(out: Path | None, **options: object) -> Summary:
    options = {"configuration": {"model": "table", "top_k": 3}, "batch": 4} | options
    return evaluate({"t-rag": Table(TEXTS, HITS)}, QUESTIONS, out, **options)  # type: ignore[arg-type]


def test_ten_questions_give_what_was_worked_out_by_hand(tmp_path: Path) -> None:
    summary = run(tmp_path / "run")
    mode = summary.modes["t-rag"]
    assert (mode.n, mode.failed) == (10, 1)
    means = {name: estimate.mean for name, estimate in mode.metrics.items() if estimate}
    expected = {"has_answer": 0.5, "em": 0.3, "f1": (3 + 2 / 3 + 0.8) / 10, "answer_length": 1.7}
    assert means == pytest.approx(expected | {"label_accuracy": 0.5})  # of the two that ask for a label
    # Of ten with gold passages, 5 have it first (0-3, 8), 7 among three; q9 failed and q7 has no hits: misses.
    assert summary.retrieval == {"hit@1": 0.5, "hit@3": 0.7, "recall@3": 0.7, "k": 3, "n": 10}

    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert written == summary.to_json()
    assert written["modes"]["t-rag"]["n"] == 10
    assert written["modes"]["t-rag"]["failed"] == 1
    # Wilson interval of 5 in 10.
    assert written["modes"]["t-rag"]["has_answer"] == {"mean": 0.5, "ci95": [0.236593, 0.763407], "n": 10}

    lines = (tmp_path / "run" / "t-rag" / "samples.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert first | {"hits": len(first["hits"])} == {
        "id": "q0",
        "question": "What is 0?",
        "answers": ["Paris"],
        "prediction": "Paris",
        "metrics": {"has_answer": 1.0, "em": 1.0, "f1": 1.0, "answer_length": 1.0, "label_accuracy": None},
        "hits": 3,
        "timings_ms": {"retrieve": 0.0, "gather": 0.0, "prefill": 0.0, "decode": 0.0, "total": 2.5},
        "tokens": {"prompt": 10, "completion": 0},
        "error": None,
    }
    assert [hit["gold"] is not None for hit in first["hits"]] == [True, False, False]
    assert last["error"] == "KeyError: 'no answer to What is 9?'"
    assert last["prediction"] == ""


def test_run_description_says_what_was_run(tmp_path: Path) -> None:
    run(tmp_path / "run", seed=7)
    held = read_run(tmp_path / "run")
    assert held["configuration"] == {"model": "table", "top_k": 3}
    assert held["seed"] == 7
    assert held["metrics"] == ["has_answer", "em", "f1", "answer_length", "label_accuracy"]
    assert held["questions"]["n"] == 10
    assert held["versions"].keys() == {"python", "paramrag", "torch", "transformers", "numpy"}
    assert held["versions"]["numpy"]


def test_without_a_directory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(None).modes["t-rag"].n == 10
    assert list(tmp_path.iterdir()) == []


def test_batched_equals_one_by_one(tmp_path: Path) -> None:
    for batch in (1, 3, 100):
        run(tmp_path / str(batch), batch=batch)
    texts = {(tmp_path / str(batch) / "t-rag" / "samples.jsonl").read_text() for batch in (1, 3, 100)}
    assert len(texts) == 1


def test_a_failing_question_costs_only_itself() -> None:
    table = Table(TEXTS)
    summary = evaluate({"a": table}, QUESTIONS, batch=5)
    assert [len(call) for call in table.calls] == [5, 5, 1, 1, 1, 1, 1]
    assert [sample.id for sample in summary.samples["a"] if sample.error] == ["q9"]


def test_finished_questions_are_not_asked_again(tmp_path: Path) -> None:
    run(tmp_path / "run")
    before = (tmp_path / "run" / "t-rag" / "samples.jsonl").read_bytes()
    table = Table({})
    again = evaluate({"t-rag": table}, QUESTIONS, tmp_path / "run", configuration={"model": "table", "top_k": 3})
    assert table.calls == []
    assert again == run(None)
    assert (tmp_path / "run" / "t-rag" / "samples.jsonl").read_bytes() == before


def test_failed_questions_are_asked_again_on_request(tmp_path: Path) -> None:
    run(tmp_path / "run")
    table = Table(TEXTS | {"What is 9?": "Oslo"})
    options = {"configuration": {"model": "table", "top_k": 3}, "retry_failed": True}
    summary = evaluate({"t-rag": table}, QUESTIONS, tmp_path / "run", **options)  # type: ignore[arg-type]
    assert table.calls == [["What is 9?"]]
    assert summary.modes["t-rag"].failed == 0
    assert [sample.id for sample in read_run_samples(tmp_path / "run")["t-rag"]] == [f"q{n}" for n in range(10)]


def test_run_torn_at_any_byte_resumes_to_the_same_log(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole")
    whole = (tmp_path / "whole" / "t-rag" / "samples.jsonl").read_bytes()
    for cut in range(0, len(whole), 61):
        torn = tmp_path / "torn"
        shutil.copytree(tmp_path / "whole", torn)
        (torn / "summary.json").unlink()
        (torn / "t-rag" / "samples.jsonl").write_bytes(whole[:cut])
        assert run(torn) == expected
        assert (torn / "t-rag" / "samples.jsonl").read_bytes() == whole
        shutil.rmtree(torn)


SLOW = f"""
import sys, time
from pathlib import Path
from {__package__}.test_runner import QUESTIONS, TEXTS, HITS
from {__package__}.answering import Table
from paramrag.evaluate import evaluate

class Slow(Table):
    def ask_many(self, questions):
        time.sleep(0.2)
        return super().ask_many(questions)

evaluate({{"t-rag": Slow(TEXTS, HITS)}}, QUESTIONS, Path(sys.argv[1]), batch=1,
         configuration={{"model": "table", "top_k": 3}})
"""


def test_killed_run_resumes_to_the_same_log(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "killed")], env={**os.environ, "PYTHONPATH": path}
    )
    log = tmp_path / "killed" / "t-rag" / "samples.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert log.read_bytes().count(b"\n") < 10
    assert run(tmp_path / "killed") == expected
    assert log.read_bytes() == (tmp_path / "whole" / "t-rag" / "samples.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configuration": {"model": "other", "top_k": 3}}, r'configuration.model is "table" there, "other" now'),
        ({"configuration": {"model": "table"}}, r"configuration.top_k is 3 there, null now"),
        ({"seed": 1}, r"seed is 0 there, 1 now"),
        ({"metrics": ["em"]}, r"metrics is .* now"),
    ],
)
def test_directory_of_another_run_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    run(tmp_path / "run")
    before = (tmp_path / "run" / "summary.json").read_bytes()
    with pytest.raises(EvaluationError, match=f"holds a different run: .*{message}"):
        run(tmp_path / "run", **options)
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_directory_of_other_questions_is_refused(tmp_path: Path) -> None:
    evaluate({"a": Table(TEXTS)}, QUESTIONS[:3], tmp_path / "run")
    with pytest.raises(EvaluationError, match=r"questions.n is 3 there, 4 now"):
        evaluate({"a": Table(TEXTS)}, QUESTIONS[:4], tmp_path / "run")
    other_gold = Question("q0", "What is 0?", ("Paris",), QUESTIONS[1].passages)
    with pytest.raises(EvaluationError, match=r"questions.fingerprint is .* now"):
        evaluate({"a": Table(TEXTS)}, [other_gold, *QUESTIONS[1:3]], tmp_path / "run")


def test_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(EvaluationError, match=r"not empty and holds no run \(thesis.tex\)"):
        run(tmp_path)


def test_directory_left_by_a_kill_before_anything_was_run_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".run.json.draft").write_text('{"vers')
    assert run(tmp_path).modes["t-rag"].n == 10


def test_damaged_directories_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "run")
    log = tmp_path / "run" / "t-rag" / "samples.jsonl"
    log.write_text("{}\n" + log.read_text())
    with pytest.raises(EvaluationError, match=r"samples.jsonl:1: not a sample"):
        run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(EvaluationError, match=r"run.json is damaged"):
        run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"version": 99}')
    with pytest.raises(EvaluationError, match=r"version 99, this ParamRAG reads up to 1"):
        run(tmp_path / "run")


def test_second_writer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(EvaluationError, match="another process is writing"):
        run(tmp_path / "run")


def test_modes_can_be_added_to_a_run(tmp_path: Path) -> None:
    evaluate({"vanilla": Table(TEXTS)}, QUESTIONS, tmp_path / "run")
    summary = evaluate({"t-rag": Table(TEXTS, HITS)}, QUESTIONS, tmp_path / "run")
    assert set(summary.modes) == {"vanilla", "t-rag"}
    assert summary.modes["vanilla"].n == 10
    assert summary.retrieval["hit@1"] == 0.5


def test_retrieval_of_runs_without_hits_or_gold_is_not_invented() -> None:
    assert evaluate({"vanilla": Table(TEXTS)}, QUESTIONS).retrieval == {"n": 0}
    plain = [Question(entry.id, entry.question, entry.answers) for entry in QUESTIONS]
    assert evaluate({"t-rag": Table(TEXTS, HITS)}, plain).retrieval == {"n": 0}


def test_recall_counts_each_gold_passage_once() -> None:
    two = Question("q0", "What is 0?", ("Paris",), (*QUESTIONS[0].passages[:1], *QUESTIONS[1].passages[:1]))
    summary = evaluate({"t-rag": Table(TEXTS, {"What is 0?": [0, 0]})}, [two])
    assert summary.retrieval == {"hit@1": 1.0, "recall@2": 0.5, "k": 2, "n": 1}


def test_memorisation_ratio_is_over_the_decided(tmp_path: Path) -> None:
    sides = {"counterfactual": ("Rome",), "original": ("Oslo",)}
    asked = [Question(str(n), f"What is {n}?", ("Rome",), metadata=sides) for n in range(5)]
    said = ["Rome", "Oslo", "Oslo", "Bern", "not Rome"]
    summary = evaluate({"m": Table({q.question: text for q, text in zip(asked, said, strict=True)})}, asked, tmp_path)
    metrics = summary.to_json()["modes"]["m"]
    assert [metrics[name]["mean"] for name in ("ps", "po", "conflict_other")] == [0.2, 0.4, 0.4]
    assert (metrics["mr"]["mean"], metrics["mr"]["n"]) == (pytest.approx(0.4 / 0.6, abs=1e-6), 3)
    assert json.loads((tmp_path / "m" / "samples.jsonl").read_text().splitlines()[3])["metrics"]["mr"] is None


def test_metric_defined_for_no_question_has_no_mean() -> None:
    summary = evaluate({"m": Table(TEXTS)}, QUESTIONS, metrics=["label_accuracy", "mr"])
    assert summary.to_json()["modes"]["m"]["mr"] == {"mean": None, "ci95": None, "n": 0}


class Short(Table):
    def ask_many(self, questions: list[Query], /):  # type: ignore[no-untyped-def]
        return super().ask_many(questions)[:-1]


class Reversed(Table):
    def ask_many(self, questions: list[Query], /):  # type: ignore[no-untyped-def]
        return super().ask_many(questions)[::-1]


def test_pipelines_that_lose_or_mix_answers_are_found_out() -> None:
    short = evaluate({"m": Short(TEXTS)}, QUESTIONS[:2]).samples["m"]
    assert [sample.error for sample in short] == ["EvaluationError: the pipeline gave 0 answers to 1 questions"] * 2
    # Reversed batches are noticed; alone, every question gets its own answer.
    mixed = evaluate({"m": Reversed(TEXTS)}, QUESTIONS[:2]).samples["m"]
    assert [sample.prediction for sample in mixed] == ["Paris", "It is St. Louis."]


def test_interrupt_is_no_failed_sample(tmp_path: Path) -> None:
    class Interrupted(Table):
        def ask_many(self, questions: list[Query], /):  # type: ignore[no-untyped-def]
            if "What is 2?" in [query.text for query in questions]:
                raise KeyboardInterrupt
            return super().ask_many(questions)

    with pytest.raises(KeyboardInterrupt):
        evaluate({"m": Interrupted(TEXTS)}, QUESTIONS, tmp_path, batch=2)
    assert [sample.id for sample in read_run_samples(tmp_path)["m"]] == ["q0", "q1"]
    assert evaluate({"m": Table(TEXTS)}, QUESTIONS, tmp_path, batch=2).modes["m"].n == 10


def test_unpaired_surrogates_survive_the_log(tmp_path: Path) -> None:
    said = {"What is 0?": "broken \ud83d text"}
    first = evaluate({"m": Table(said)}, QUESTIONS[:1], tmp_path)
    assert evaluate({"m": Table({})}, QUESTIONS[:1], tmp_path) == first


def test_progress_counts_what_is_done(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    evaluate({"m": Table(TEXTS)}, QUESTIONS, batch=4, progress=lambda *step: seen.append(step))
    assert seen == [("m", done, 10) for done in (0, 4, 8, 10)]


@pytest.mark.parametrize(
    ("pipelines", "asked", "options", "message"),
    [
        ({}, QUESTIONS, {}, "0 pipelines and 10 questions"),
        ({"m": Table(TEXTS)}, [], {}, "1 pipelines and 0 questions"),
        ({"m": Table(TEXTS)}, QUESTIONS, {"batch": 0}, "batch is 0"),
        ({"m": Table(TEXTS)}, [*QUESTIONS, QUESTIONS[2]], {}, "question id 'q2' is given 2 times"),
        ({"m": Table(TEXTS)}, QUESTIONS, {"metrics": ["em", "em"]}, "metric 'em' is given 2 times"),
        ({"m": Table(TEXTS)}, QUESTIONS, {"metrics": ["emm"]}, "unknown metric 'emm'"),
        ({"../m": Table(TEXTS)}, QUESTIONS, {}, "mode '../m' cannot name a directory"),
        ({"m": Table(TEXTS)}, QUESTIONS, {"configuration": {"a": object()}}, "cannot be saved as JSON"),
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path: Path, pipelines, asked, options, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(pipelines, asked, tmp_path / "run", **options)


@pytest.mark.parametrize(
    "first", ["import paramrag", "import paramrag.evaluate", "from paramrag.evaluate import metric"]
)
def test_evaluate_is_the_function_and_the_room_whatever_was_imported_first(first: str) -> None:
    code = f"{first}\nfrom paramrag import evaluate\nprint(evaluate.metric('em'))\nevaluate({{}}, [])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "em\n"
    assert "EvaluationError: nothing to evaluate" in done.stderr
