"""How a benchmark's question is put, and which passages are given with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from paramrag import Collection
from paramrag.errors import EvaluationError
from paramrag.evaluate import JudgedPassage, OtherQuestions, Question, load_questions, metric, oracle, query_of
from paramrag.evaluate.noise import AnyPassage, is_noise
from paramrag.models.prompts import user_turn
from paramrag.types import Hit, Passage, Query


def judged(text: str, title: str = "", *, gold: bool = True, role: str = "") -> JudgedPassage:
    return JudgedPassage(Passage(text, title), gold, role)


def test_a_slot_is_asked_as_a_question() -> None:
    slot = Question("1", "Goro Tameike [SEP] year of birth", ("1964",), task="slot_filling")
    assert query_of(slot) == Query("What is the year of birth of Goro Tameike?", id="1")
    odd = Question("1", "a [SEP] b [SEP] c", ("x",), task="slot_filling")
    assert query_of(odd).text == "a [SEP] b [SEP] c"


def test_a_claim_is_put_as_a_claim_and_its_labels_are_named() -> None:
    claim = Question(
        "1", "Oslo lies in Norway.", ("SUPPORTS",), task="fact_verification", choices=("SUPPORTS", "REFUTES")
    )
    assert user_turn(query_of(claim)) == "Claim: Oslo lies in Norway.\nAnswer with one of these: SUPPORTS; REFUTES"


def test_free_text_is_put_as_it_was_before_there_were_forms() -> None:
    passages = [Passage("It lies in Norway.", "Oslo")]
    plain = Question("1", "Where is Oslo?", ("Norway",))
    assert user_turn(query_of(plain), passages) == user_turn("Where is Oslo?", passages)
    assert user_turn(query_of(plain), passages) == "Passage 1: Oslo\nIt lies in Norway.\n\nQuestion: Where is Oslo?"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_labels_of_a_file_are_named_two_always_the_third_where_it_occurs(tmp_path: Path) -> None:
    polar = write(
        tmp_path / "p.jsonl", '{"question": "a", "answers": ["yes"]}', '{"question": "b", "answers": ["Yes"]}'
    )
    assert [(q.task, q.choices) for q in load_questions(polar)] == [("yes_no", ("yes", "no"))] * 2
    maybe = write(
        tmp_path / "m.jsonl", '{"question": "a", "answers": ["yes"]}', '{"question": "b", "answers": ["maybe"]}'
    )
    assert {q.choices for q in load_questions(maybe)} == {("yes", "no", "maybe")}
    mixed = write(
        tmp_path / "x.jsonl", '{"question": "a", "answers": ["yes"]}', '{"question": "b", "answers": ["Oslo"]}'
    )
    assert {(q.task, q.choices) for q in load_questions(mixed)} == {("qa", ())}
    facts = write(tmp_path / "f.jsonl", '{"question": "a", "answers": ["REFUTES"]}')
    assert load_questions(facts)[0].choices == ("SUPPORTS", "REFUTES")
    more = write(tmp_path / "n.jsonl", '{"question": "a", "answers": ["NOT ENOUGH INFO"]}')
    assert load_questions(more)[0].choices == ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")


def test_choices_are_shown_where_they_are_the_task(tmp_path: Path) -> None:
    line = '{"question": "Which?", "answers": ["blue"], "choices": ["red", "blue"], "task": "new_knowledge"}'
    file = write(tmp_path / "q.jsonl", line)
    (free,) = load_questions(file)
    assert (free.task, free.choices, free.metadata["choices"]) == ("new_knowledge", (), ["red", "blue"])
    (shown,) = load_questions(file, task="choices")
    assert user_turn(query_of(shown)) == "Question: Which?\nAnswer with one of these: red; blue"
    indexed = write(tmp_path / "f.jsonl", '{"question": "Which?", "golden_answers": [1], "choices": ["red", "blue"]}')
    assert load_questions(indexed)[0].choices == ("red", "blue")


@pytest.mark.parametrize(
    ("line", "task", "message"),
    [
        ('{"question": "a", "answers": ["x"]}', "choices", r"q.jsonl:1: the task is 'choices'"),
        ('{"question": "a", "answers": ["x"], "choices": ["y", "z"]}', "choices", "are not among the choices"),
        (
            '{"question": "a", "answers": ["x"], "task": "slot_fillin"}',
            None,
            r"q.jsonl:1: .*did you mean 'slot_filling'",
        ),
        ('{"question": "a", "answers": ["x"]}', "facts", "unknown task 'facts'"),
    ],
)
def test_tasks_that_cannot_be_asked_are_refused(tmp_path: Path, line: str, task: str | None, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        load_questions(write(tmp_path / "q.jsonl", line), task=task)


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        ("blue", 1.0),
        ("It is blue, not red.", 1.0),
        ("red or blue", 0.0),
        ("bluegreen", 0.0),
        ("The answer is light blue", 0.0),
        ("", 0.0),
    ],
)
def test_the_choice_named_first_counts(prediction: str, score: float) -> None:
    question = Question("1", "Which?", ("blue",), task="choices", choices=("red", "blue", "light blue"))
    assert metric("label_accuracy").score(prediction, question) == score


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    opened = Collection.open(tmp_path / "c")
    texts = [f"{name} stands on hill {number}." for number, name in enumerate(("Ard", "Bex", "Cor", "Dun"))]
    opened.add([Passage(text, text.split()[0]) for text in texts])
    long = tmp_path / "long.txt"
    long.write_text("Eft is a town. " + "It has many houses and a long street. " * 30, encoding="utf-8")
    opened.add(long)
    return opened


def test_oracle_gives_the_gold_passages_as_the_collection_holds_them(collection: Collection) -> None:
    pieces = [passage for passage in collection.passages() if "houses" in passage.text]
    assert len(pieces) > 1
    whole = Passage("Eft is a town. " + "It has many houses and a long street. " * 30, pieces[0].title)
    questions = [
        Question("1", "a?", ("x",), (judged("Ard stands on hill 0.", "Ard"), judged("z", gold=False))),
        Question("2", "a?", ("y",), (JudgedPassage(whole, True),)),
        Question("3", "b?", ("y",), (judged("Cor stands on hill 2.", "Cor", gold=False, role="counterfactual"),)),
    ]
    given = oracle(questions, collection)
    assert [[hit.passage.title for hit in given[key]] for key in ("1", "3")] == [["Ard"], []]
    assert [hit.passage for hit in given["2"]] == pieces
    assert all(hit.score == 1.0 for hit in given["2"])
    assert oracle(questions, collection, "counterfactual")["3"][0].passage.title == "Cor"


def test_oracle_refuses_what_it_cannot_give(collection: Collection) -> None:
    lost = [Question("1", "a?", ("x",), (judged("Zed is far.", "Zed"),))]
    with pytest.raises(EvaluationError, match=r"lacks a gold passage of question '1' \('Zed'\)"):
        oracle(lost, collection)
    with pytest.raises(EvaluationError, match=r"no question comes with passages of role 'noise'; expected one of gold"):
        oracle(lost, collection, "noise")


HITS = {str(n): [Hit(Passage(f"Tower {n} is {n} metres high.", f"Tower {n}"), f"d{n}", 9.0)] for n in range(6)}


def towers() -> list[Question]:
    return [
        Question(key, f"How high is tower {key}?", (f"{key} metres",), (JudgedPassage(hits[0].passage, True),))
        for key, hits in HITS.items()
    ]


def test_noise_is_of_other_questions_and_the_same_every_time() -> None:
    questions = towers()
    noise = OtherQuestions(questions, lambda question: HITS[question.id], seed=3)
    query = query_of(questions[0])
    chosen = noise(query, HITS["0"] * 2)
    assert len({hit.passage.id for hit in chosen}) == 2
    assert HITS["0"][0].passage.id not in {hit.passage.id for hit in chosen}
    again = OtherQuestions(questions, lambda question: HITS[question.id], seed=3)
    assert again(query, HITS["0"] * 2) == chosen
    seeds = {OtherQuestions(questions, lambda q: HITS[q.id], seed=s)(query, HITS["0"])[0].passage.id for s in range(20)}
    assert len(seeds) > 2


def test_noise_has_no_gold_title_and_no_gold_answer() -> None:
    question = Question("q", "?", ("5 metres",), (judged("The mast.", "Mast"),))
    assert not is_noise(Hit(Passage("Another text", "Mast"), "d", 1.0), question)
    assert not is_noise(HITS["5"][0], question)
    assert is_noise(HITS["4"][0], question)
    polar = Question("q", "?", ("no",), (judged("The mast.", "Mast"),))
    assert is_noise(Hit(Passage("There is no tower.", "Tower"), "d", 1.0), polar)
    conflict = Question("q", "?", ("a",), metadata={"counterfactual": ("4 metres",), "original": ("a",)})
    assert not is_noise(HITS["4"][0], conflict)


def test_too_little_noise_is_said() -> None:
    noise = OtherQuestions(towers()[:2], lambda question: HITS[question.id])
    with pytest.raises(EvaluationError, match="have 1 passages that are noise for '0', 3 are needed"):
        noise(Query("?", id="0"), HITS["0"] * 3)
    with pytest.raises(EvaluationError, match="is none of them"):
        noise(Query("else?"), HITS["0"])


def test_any_passage_is_never_a_hit(collection: Collection) -> None:
    passages = collection.passages()
    hits = [Hit(passage, "d", 1.0) for passage in passages[:2]]
    others = AnyPassage(collection, seed=1)
    for number in range(10):
        chosen = others(Query(f"question {number}"), hits)
        assert len({hit.passage.id for hit in chosen} - {hit.passage.id for hit in hits}) == 2
    with pytest.raises(EvaluationError, match="are needed to swap"):
        others(Query("?"), [hits[0]] * len(passages))
