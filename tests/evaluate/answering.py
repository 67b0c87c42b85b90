"""A pipeline that answers from a table: what the runner needs to know of a pipeline, and nothing more."""

from collections.abc import Mapping, Sequence

from paramrag.evaluate import JudgedPassage, Question
from paramrag.types import Answer, Hit, Passage, Query, Trace, Used


def passage(number: int) -> Passage:
    return Passage(f"Fact {number}.", f"Page {number}")


def question(number: int, *answers: str) -> Question:
    judged = (JudgedPassage(passage(number), True), JudgedPassage(passage(number + 100), False))
    return Question(f"q{number}", f"What is {number}?", answers, judged)


class Table:
    """Answers question by question from a mapping; a question that it lacks is an error."""

    def __init__(self, texts: Mapping[str, str], hits: Mapping[str, Sequence[int]] | None = None) -> None:
        self.texts = texts
        self.hits = hits or {}
        self.calls: list[list[str]] = []

    def ask_many(self, questions: list[Query], /) -> list[Answer]:
        self.calls.append([query.text for query in questions])
        return [self._answer(query.text) for query in questions]

    def _answer(self, text: str) -> Answer:
        if text not in self.texts:
            raise KeyError(f"no answer to {text}")
        used = tuple(Used(Hit(passage(number), "doc", 1.0), True, None, 0.0) for number in self.hits.get(text, ()))
        return Answer(text, "table", self.texts[text], used, Trace(total_ms=2.5, prompt_tokens=len(text)))
