import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paramrag.errors import EvaluationError
from paramrag.evaluate import Question, load_questions
from paramrag.types import Passage

DATA = os.environ.get("PARAMRAG_DATA")


def lines(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"id": "1", "question": "Where?", "answers": ["Paris"], **changes}


def test_reads_benchmark_files(tmp_path: Path) -> None:
    passages = [
        {"id": "x", "title": "T", "text": "one", "gold": True},
        {"id": "y", "title": "T", "text": "two", "gold": False, "role": "noise"},
    ]
    file = lines(tmp_path / "q.jsonl", entry(answers=["Paris", "Paris", 7], passages=passages, task="qa", level="hard"))
    (question,) = load_questions(file)
    assert question == Question(
        "1",
        "Where?",
        ("Paris", "7"),
        ((Passage("one", "T"), True, ""), (Passage("two", "T"), False, "noise")),
        "qa",
        {"level": "hard"},
    )
    assert question.gold_ids == {Passage("one", "T").id}


def test_popqa_answers_stand_on_the_subjects_page_alone(tmp_path: Path) -> None:
    passages = [
        {"title": "S", "text": "s", "gold": True, "role": "subject_page"},
        {"title": "O", "text": "o", "gold": True, "role": "object_page"},
    ]
    (question,) = load_questions(lines(tmp_path / "q.jsonl", entry(passages=passages)))
    assert question.gold_ids == {Passage("s", "S").id}


def test_hit_cut_from_a_gold_passage_counts_as_it(tmp_path: Path) -> None:
    passages = [{"title": "T", "text": "First part. Second part.", "gold": True}]
    (question,) = load_questions(lines(tmp_path / "q.jsonl", entry(passages=passages)))
    gold = Passage("First part. Second part.", "T").id
    assert question.gold_of(Passage("Second part.", "T", 12, 24)) == gold
    assert question.gold_of(Passage("First part. Second part.", "T")) == gold
    assert question.gold_of(Passage("Second part.", "other")) is None
    assert question.gold_of(Passage("Third part.", "T")) is None


def test_an_entry_needs_no_more_than_question_and_answers(tmp_path: Path) -> None:
    first, second = load_questions(
        lines(tmp_path / "q.jsonl", {"question": "a?", "answers": "x"}, {"question": "b?", "answers": ["y"]})
    )
    assert first.answers == ("x",)
    assert first.id != second.id
    assert first.passages == ()


def test_reads_flashrag(tmp_path: Path) -> None:
    plain, chosen = load_questions(
        lines(
            tmp_path / "q.jsonl",
            {"id": "dev_0", "question": "Who?", "golden_answers": ["Ann", "A."], "metadata": {"type": "x"}},
            {"id": "dev_1", "question": "Which?", "golden_answers": [1], "choices": ["red", "blue"]},
        )
    )
    assert (plain.id, plain.answers, plain.metadata) == ("dev_0", ("Ann", "A."), {"type": "x"})
    assert chosen.answers == ("blue",)


def test_reads_kilt(tmp_path: Path) -> None:
    source = {"wikipedia_id": "5", "title": "Ann"}
    slot, fact = load_questions(
        lines(
            tmp_path / "q.jsonl",
            {
                "id": "a",
                "input": "Ann [SEP] country",
                "output": [{"answer": "France", "provenance": [source]}, {"provenance": [source]}, {"answer": "FR"}],
                "meta": {"partial_evidence": []},
            },
            {"id": "b", "input": "Ann is French.", "output": [{"answer": "SUPPORTS"}]},
        )
    )
    assert (slot.answers, slot.task, slot.metadata["provenance"]) == (("France", "FR"), "slot_filling", [source] * 2)
    assert fact.task == "fact_verification"


def test_reads_prag_augmented_data(tmp_path: Path) -> None:
    file = tmp_path / "total.json"
    augment = [{"pid": 0, "passage": "text", "m_rewrite": "other text", "m_qa": []}]
    value = {"test_id": 0, "question": "Who?", "answer": "Ann", "passages": ["text"], "augment": augment}
    golden = {"qid": "z", "test_id": 1, "question": "Who?", "answer": ["B", "C"], "golden_passages": ["gold"]}
    file.write_text(json.dumps([value, golden], indent=4))
    first, second = load_questions(file)
    assert (first.id, first.answers, first.metadata) == ("0", ("Ann",), {"augment": augment})
    assert first.passages == ((Passage("text"), False, "retrieved"),)
    assert (second.id, second.gold_ids) == ("z", {Passage("gold").id})


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    lines(
        tmp_path / "queries.jsonl",
        {"_id": "q1", "text": "what?", "metadata": {"answers": ["x"]}},
        {"_id": "q2", "text": "unjudged?"},
        {"_id": "q3", "text": "who?"},
    )
    corpus = [{"_id": f"d{number}", "title": f"T{number}", "text": f"text {number}"} for number in range(4)]
    lines(tmp_path / "corpus.jsonl", *corpus)
    (tmp_path / "qrels").mkdir()
    rows = ["query-id\tcorpus-id\tscore", "q1\td1\t1", "q1\td2\t0", "q3\td3\t2", "q3\td0\t1"]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "qrels" / "train.tsv").write_text("q2\td0\t1\n")
    return tmp_path


@pytest.mark.parametrize("name", ["", "queries.jsonl"])
def test_reads_beir(beir: Path, name: str) -> None:
    first, third = load_questions(beir / name)
    assert (first.id, first.question, first.answers, first.task) == ("q1", "what?", ("x",), "qa")
    assert first.gold_ids == {Passage("text 1", "T1").id}
    assert (third.answers, third.task) == ((), "retrieval")
    assert third.gold_ids == {Passage("text 3", "T3").id, Passage("text 0", "T0").id}


def test_beir_without_what_belongs_to_it_is_refused(beir: Path) -> None:
    (beir / "qrels" / "test.tsv").write_text("q1\td9\t1\n")
    with pytest.raises(EvaluationError, match=r"corpus.jsonl lacks 1 judged passages.*'d9'"):
        load_questions(beir)
    (beir / "qrels" / "test.tsv").write_text("q1\td1\n")
    with pytest.raises(EvaluationError, match=r"test.tsv:1: .*apart by tabs"):
        load_questions(beir)
    (beir / "qrels" / "test.tsv").unlink()
    load_questions(beir)  # the only file there is
    (beir / "qrels" / "train.tsv").unlink()
    with pytest.raises(EvaluationError, match=r"has 0 \.tsv files"):
        load_questions(beir)


def test_limit_takes_the_first_and_reads_no_further(tmp_path: Path) -> None:
    file = lines(tmp_path / "q.jsonl", entry(), entry(id="2"))
    with file.open("a") as more:
        more.write("broken\n")
    assert [question.id for question in load_questions(file, limit=2)] == ["1", "2"]
    with pytest.raises(EvaluationError, match="limit is 0"):
        load_questions(file, limit=0)


def test_byte_order_mark_and_blank_lines_are_no_questions(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text("\ufeff" + json.dumps(entry()) + "\n\n  \n" + json.dumps(entry(id="2")), encoding="utf-8")
    assert len(load_questions(file)) == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (entry(id="1"), r"q.jsonl:2: id '1' was already used at .*q.jsonl:1; ids must be unique"),
        (entry(id="2", question="  "), r"q.jsonl:2: 'question' is empty"),
        (entry(id="2", question=3), r"q.jsonl:2: 'question' is a number, expected a string"),
        (entry(id="2", answers=[]), r"q.jsonl:2: no answers under 'answers'; give at least one"),
        (entry(id="2", answers=None), r"q.jsonl:2: no answers"),
        (entry(id="2", answers=["a", " "]), r"q.jsonl:2: an answer under 'answers' is empty"),
        (entry(id="2", answers=[True]), r"q.jsonl:2: an answer under 'answers' is true or false"),
        (entry(id=["2"]), r"q.jsonl:2: 'id' is a list"),
        ({"id": "2", "question": "Where?"}, r"q.jsonl:2: 'answers' is missing, though .* ParamRAG format"),
        (entry(id="2", passage=[]), r"q.jsonl:2: unknown field 'passage'; did you mean 'passages'\?"),
        (entry(id="2", passages={}), r"q.jsonl:2: 'passages' is not a list"),
        (entry(id="2", passages=[{"title": "T"}]), r"q.jsonl:2: an entry of 'passages' has no text"),
        (entry(id="2", passages=[{"text": "t", "gold": "yes"}]), r"q.jsonl:2: a passage has gold 'yes'"),
        (entry(id="2", passages=[{"text": "t", "title": 4}]), r"q.jsonl:2: a title in 'passages' is a number"),
        (["a list"], r"q.jsonl:2: a list, expected an object"),
    ],
)
def test_every_complaint_names_file_and_line(tmp_path: Path, bad: Any, message: str) -> None:
    file = lines(tmp_path / "q.jsonl", entry(), bad)
    with pytest.raises(EvaluationError, match=message):
        load_questions(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{broken", r"q.jsonl:1: not valid JSON"),
        ("[1, ", r"q.jsonl:1: not valid JSON .* expected an array"),
        ('[{"question": "a", "answer": "b"}, {"question": "c", "answer": ""}]', r"q.jsonl, entry 2: an answer"),
        ("", "holds no questions"),
        ("[]", "holds no questions"),
        ('{"question": "a", "anwsers": ["b"]}', r"q.jsonl:1: unknown question format.*did you mean 'answers'\?"),
        ('{"text": "b"}', r"q.jsonl:1: unknown question format with the fields 'text'.*FlashRAG"),
        ('{"id": "1", "question": "a", "golden_answers": [4], "choices": ["x"]}', r"q.jsonl:1: golden answer 4"),
        ('{"id": "1", "question": "a", "golden_answers": []}', r"q.jsonl:1: no answers under 'golden_answers'"),
        ('{"id": "1", "input": "a", "output": [{"provenance": []}]}', r"q.jsonl:1: no answers under 'output'"),
        ('{"id": "1", "input": "a", "output": "b"}', r"q.jsonl:1: 'output' is not a list of objects"),
        ('{"question": "a", "answer": "b", "passages": "c"}', r"q.jsonl:1: 'passages' is not a list"),
    ],
)
def test_files_that_are_no_question_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(text)
    with pytest.raises(EvaluationError, match=message):
        load_questions(file)


def test_missing_and_undecodable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"'.*none.jsonl' not found"):
        load_questions(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "caf\xe9"}\n')
    with pytest.raises(EvaluationError, match="not UTF-8"):
        load_questions(tmp_path / "latin.jsonl")


def test_evaluating_imports_no_torch() -> None:
    code = "import sys, paramrag.evaluate; print([m for m in ('torch', 'lancedb', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


COUNTS = {
    "popqa": 250,
    "squad_xquad_en": 242,
    "nq_open_oracle": 150,
    "hotpotqa": 199,
    "2wikimultihopqa": 232,
    "strategyqa": 114,
    "pubmedqa": 250,
    "fever_symmetric": 250,
    "lama_google_re": 250,
    "lama_trex": 220,
    "realtimeqa_2025": 250,
    "coconflictqa_nq": 150,
    "coconflictqa_hotpotqa": 150,
    "rgb_en_fact": 50,
    "phantomwiki": 360,
    "tofu": 200,
}


@pytest.mark.skipif(not DATA, reason="set PARAMRAG_DATA to the folder of the benchmark files")
@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_reads_the_benchmark_files_themselves(name: str, count: int) -> None:
    questions = load_questions(Path(str(DATA)) / f"{name}.jsonl")
    assert len(questions) == count
    assert all(question.gold_ids for question in questions)
    if name == "popqa":
        assert all(len(question.gold_ids) == 1 for question in questions)
    if "conflict" in name or name == "rgb_en_fact":
        assert all(question.metadata["counterfactual"] and question.metadata["original"] for question in questions)
