import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramrag.errors import EvaluationError
from paramrag.evaluate import METRICS, Metric, Question, load_questions, metric, metrics_for
from paramrag.evaluate.metrics.label_accuracy import fact_label, polar_label


def score(name: str, prediction: str, *golds: str, **metadata: tuple[str, ...]) -> float:
    return metric(name).score(prediction, Question("q", "?", golds, metadata=metadata))


PUNCTUATED = ["St. Louis", "1,000", "Washington, D.C.", "J. K. Rowling", "1. George Rankin", "AC/DC", "Mr. T, Jr."]


@pytest.mark.parametrize("answer", PUNCTUATED)
def test_punctuation_inside_an_answer_costs_nothing(answer: str) -> None:
    for name in ("has_answer", "contains", "em", "f1", "precision", "recall"):
        assert score(name, answer, answer) == 1.0
    assert score("has_answer", f"It was {answer}, in the end.", answer) == 1.0


@pytest.mark.parametrize("answer", [answer for answer in PUNCTUATED if "/" not in answer])
def test_prag_cut_breaks_answers_with_punctuation(answer: str) -> None:
    assert score("em_prag", answer, answer) == 0.0
    assert score("f1_prag", answer, answer) < 1.0


@pytest.mark.parametrize(
    ("prediction", "gold", "em"),
    [
        ("Paris. It is the capital.", "Paris", 1.0),
        ("Paris, France", "Paris", 1.0),
        ("Paris\nQuestion: what next?", "Paris", 1.0),
        ("So the answer is Paris. Next", "Paris", 1.0),
        ("St. Louis, Missouri", "St", 1.0),
        (". Paris", "Paris", 0.0),
    ],
)
def test_prag_cut(prediction: str, gold: str, em: float) -> None:
    assert score("em_prag", prediction, gold) == score("f1_prag", prediction, gold) == em


def test_has_answer_finds_the_name_behind_a_list_number_and_prag_does_not() -> None:
    prediction = "1. George Rankin was an Australian soldier."
    assert score("has_answer", prediction, "George Rankin") == 1.0
    assert score("f1_prag", prediction, "George Rankin") == 0.0


@pytest.mark.parametrize(
    ("prediction", "gold", "has_answer", "contains"),
    [
        ("I do not know", "no", 0.0, 1.0),
        ("in 1999", "1", 0.0, 1.0),
        ("Indiana", "India", 0.0, 1.0),
        ("1000 people", "1,000", 1.0, 1.0),
        ("Louis St.", "St. Louis", 0.0, 0.0),
        ("St. big Louis", "St. Louis", 0.0, 0.0),
        ("THE   ST.\nLOUIS", "st louis", 1.0, 1.0),
        ("", "Paris", 0.0, 0.0),
        ("...", "Paris", 0.0, 0.0),
    ],
)
def test_words_match_whole(prediction: str, gold: str, has_answer: float, contains: float) -> None:
    assert score("has_answer", prediction, gold) == has_answer
    assert score("contains", prediction, gold) == contains


@pytest.mark.parametrize(
    ("prediction", "yes", "no"),
    [
        ("Yes", 1.0, 0.0),
        ("No, it is not.", 0.0, 1.0),
        ("No. Well, yes, in a way", 0.0, 1.0),
        ("I would say yes, no doubt", 1.0, 0.0),
        ("Nobody knows", 0.0, 0.0),
        ("yesterday", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_first_yes_or_no_counts(prediction: str, yes: float, no: float) -> None:
    assert score("has_answer", prediction, "yes") == yes
    assert score("has_answer", prediction, "No") == no


@pytest.mark.parametrize("name", ["has_answer", "contains", "em", "f1", "precision", "recall"])
@pytest.mark.parametrize(
    ("prediction", "gold", "right"),
    [
        ("The", "The", 1.0),
        ("a.", "A", 1.0),
        ("(A)", "A", 1.0),
        ("the river in the garden", "The", 0.0),
        ("a dog", "A", 0.0),
        ("", "The", 0.0),
        ("anything", "The", 0.0),
        ("!!!", "!!!", 1.0),
        ("wow!!!", "!!!", 0.0),
        ("", "!!!", 0.0),
    ],
)
def test_gold_of_articles_or_punctuation_alone_must_be_the_whole_answer(
    name: str, prediction: str, gold: str, right: float
) -> None:
    assert score(name, prediction, gold) == right


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        ("\u201cSt. Louis\u201d", "St. Louis"),
        ("O\u2019Brien", "O'Brien"),
        ("1939\u20131945", "1939-1945"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("\u00abParis\u00bb", "Paris"),
        ("St.\u00a0Louis", "St. Louis"),
    ],
)
def test_typographic_marks_are_no_wrong_answers(prediction: str, gold: str) -> None:
    for name in ("has_answer", "contains", "em", "f1"):
        assert score(name, prediction, gold) == score(name, gold, prediction) == 1.0


def test_em_dash_does_not_glue_words() -> None:
    assert score("has_answer", "Paris\u2014the capital", "Paris") == 1.0


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"label_accuracy", "ps", "po", "mr", "conflict_other"}))
def test_empty_prediction_scores_nothing(name: str) -> None:
    assert score(name, "", "Paris", "The", "no") == 0.0


def test_f1_takes_the_best_alias_and_all_or_nothing_for_yes_and_no() -> None:
    assert score("f1", "New York City", "NYC", "New York") == pytest.approx(0.8)
    assert score("precision", "New York City", "NYC", "New York") == pytest.approx(2 / 3)
    assert score("recall", "New York City", "NYC", "New York") == 1.0
    assert score("f1", "yes it is", "yes") == score("f1", "yes", "yes indeed") == 0.0
    assert score("f1", "Yes.", "yes") == 1.0


def test_answer_length_counts_words() -> None:
    assert score("answer_length", " two  words\n", "x") == 2.0


@given(st.text(max_size=30), st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_exact_match_is_full_f1_and_an_answer(prediction: str, golds: list[str]) -> None:
    if score("em", prediction, *golds):
        assert score("f1", prediction, *golds) == score("has_answer", prediction, *golds) == 1.0
    assert score("has_answer", prediction, *golds) <= max(
        score("contains", prediction, *golds), score("em", prediction, *golds)
    )


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("SUPPORTS", "supports"),
        ("The evidence refutes the claim.", "refutes"),
        ("The claim is not supported by the passage.", "refutes"),
        ("The passage doesn\u2019t support this", "refutes"),
        ("This is false, as the true date is 1990.", "refutes"),
        ("This is not false.", "supports"),
        ("Answer: SUPPORTS", "supports"),
        ("It seems false at first, but the answer is: **SUPPORTS**", "supports"),
        ("SUPPORTS or REFUTES? REFUTES", "refutes"),
        ("SUPPORTS/REFUTES/NOT ENOUGH INFO: supports", "supports"),
        ("SUPPORTS or REFUTES", None),
        ("NOT_ENOUGH_INFO", "not enough info"),
        ("There is not enough information to say if it is true.", "not enough info"),
        ("Yes, the passage says so", "supports"),
        ("No.", "refutes"),
        ("1990", None),
        ("", None),
    ],
)
def test_fact_label_is_read_from_free_text(text: str, label: str | None) -> None:
    assert fact_label(text) == label
    assert score("label_accuracy", text, "SUPPORTS") == float(label == "supports")
    assert score("label_accuracy", text, "REFUTES") == float(label == "refutes")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Yes.", "yes"),
        ("No, they do not know.", "no"),
        ("Nobody knows", None),
        ("Maybe; yes for some", "maybe"),
        ("yes/no/maybe: maybe", "maybe"),
        ("Yes or no? No.", "no"),
        ("It would be fine. The answer is yes", "yes"),
        ("The results are inconclusive", "maybe"),
        ("That is true", "yes"),
        ("That is incorrect", "no"),
        ("answer: I say no", "no"),
        ("", None),
    ],
)
def test_polar_label_is_read_from_free_text(text: str, label: str | None) -> None:
    assert polar_label(text) == label
    for gold in ("yes", "no", "maybe"):
        assert score("label_accuracy", text, gold) == float(label == gold)


def test_label_accuracy_says_nothing_about_free_text_golds() -> None:
    assert math.isnan(score("label_accuracy", "SUPPORTS", "Paris"))


@pytest.mark.parametrize(
    ("prediction", "verdict"),
    [
        ("It is New York.", "counterfactual"),
        ("Athens", "original"),
        ("Athens, not New York", "original"),
        ("New York or Athens", "original"),
        ("It is not New York", "other"),
        ("Paris", "other"),
        ("New Yorker", "other"),
        ("", "other"),
    ],
)
def test_conflict_is_counted_three_ways(prediction: str, verdict: str) -> None:
    sides = {"counterfactual": ("New York",), "original": ("Athens", "Athina")}
    found = {name: score(name, prediction, "Athens", **sides) for name in ("ps", "po", "conflict_other")}
    names = {"ps": "counterfactual", "po": "original", "conflict_other": "other"}
    assert found == {name: float(names[name] == verdict) for name in names}
    ratio = score("mr", prediction, "Athens", **sides)
    assert math.isnan(ratio) if verdict == "other" else ratio == float(verdict == "original")


NEGATIONS = "no not never none cannot nobody nothing nowhere neither nor without hardly"


@pytest.mark.parametrize("word", NEGATIONS.split(" "))
def test_every_negation_of_the_published_script_is_one(word: str) -> None:
    sides = {"counterfactual": ("New York",), "original": ("Athens",)}
    found = [score(name, f"{word} it is New York", "Athens", **sides) for name in ("ps", "po", "conflict_other")]
    assert found == [0.0, 0.0, 1.0]
    assert score("ps", f"{word}x it is New York", "Athens", **sides) == 1.0


def test_negation_inside_the_counterfactual_answer_denies_nothing() -> None:
    sides = {"counterfactual": ("Never Let Me Go",), "original": ("Emma",)}
    assert score("ps", "The book is Never Let Me Go", "Emma", **sides) == 1.0
    assert score("ps", "It was never Never Let Me Go", "Emma", **sides) == 0.0


def test_short_answer_inside_the_other_sides_long_one_is_no_mention() -> None:
    sides = {"counterfactual": ("21 June 2007",), "original": ("2007",)}
    assert score("ps", "on 21 June 2007", "x", **sides) == 1.0
    assert score("po", "in 2007", "x", **sides) == 1.0
    assert score("po", "on 21 June 2007, so in 2007", "x", **sides) == 1.0
    swapped = {"counterfactual": ("2007",), "original": ("21 June 2007",)}
    assert score("po", "on 21 June 2007", "x", **swapped) == 1.0
    assert score("ps", "in 2007", "x", **swapped) == 1.0


def test_conflict_says_nothing_without_a_conflict() -> None:
    assert all(math.isnan(score(name, "Athens", "Athens")) for name in ("ps", "po", "mr", "conflict_other"))


def test_questions_without_golds_are_undefined() -> None:
    for name in ("has_answer", "contains", "em", "f1", "precision", "recall", "em_prag", "f1_prag", "label_accuracy"):
        assert math.isnan(score(name, "anything"))


def test_names_print_and_parse_back() -> None:
    for name, entry in METRICS.items():
        assert str(entry) == name
        assert metric(str(entry)) is entry
        assert entry.description.endswith(".")
        assert entry.source


def test_own_metric_is_taken_as_it_is() -> None:
    own = Metric("own", "Anything.", "here", True, lambda prediction, question: 1.0)
    assert metric(own) is own


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(EvaluationError, match=r"unknown metric 'has_anser'.*did you mean 'has_answer'"):
        metric("has_anser")


def test_metrics_follow_the_tasks() -> None:
    plain = Question("1", "?", ("Paris",))
    fact = Question("2", "?", ("REFUTES",))
    conflict = Question("3", "?", ("a b",), metadata={"counterfactual": ("a b",), "original": ("c",)})
    always = ["has_answer", "em", "f1", "answer_length"]
    assert [m.name for m in metrics_for([plain])] == always
    assert [m.name for m in metrics_for([plain, fact])] == [*always, "label_accuracy"]
    assert [m.name for m in metrics_for([conflict])] == [*always, "ps", "po", "conflict_other", "mr"]


def test_conflict_sides_follow_who_contradicts_whom(tmp_path: Path) -> None:
    """RGB: counterfactual passages against the gold answer. CoConflictQA: the gold passage against the model."""
    file = tmp_path / "conflict.jsonl"
    file.write_text(
        '{"id": "rgb", "question": "q", "answers": ["Athens"], "conflict_answer": "New York", "passages": '
        '[{"text": "t", "gold": false, "role": "counterfactual"}]}\n'
        '{"id": "co", "question": "q", "answers": ["5778"], "conflict_answer": "5783", "passages": '
        '[{"text": "t", "gold": true}]}\n'
    )
    rgb, co = load_questions(file)
    assert metric("ps").score("New York", rgb) == metric("po").score("Athens", rgb) == 1.0
    assert metric("ps").score("5778", co) == metric("po").score("5783", co) == 1.0
