"""A language model as judge: does the prediction give a gold answer, in whatever words?

One fixed prompt; a verdict is kept under judge, prompt, question, gold answers and prediction, so that it is asked
for and paid once. Its agreement with `has_answer` is a metric of its own: read the judge only where you know that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ...errors import EvaluationError
from ...types import content_hash
from ..questions import Question
from . import has_answer
from .definition import UNDEFINED, Metric

Ask = Callable[[str], str]
"""Prompt -> the judge's reply."""

PROMPT = """\
Grade an answer to a question.

Question: {question}
Gold answers, any of which is right: {golds}
Answer to grade: {prediction}

Does the answer to grade give a gold answer? Other words for the same thing, and more than the gold answer, are \
right; an answer that contradicts it, or leaves open which of several things it means, is wrong. Reply with one word: \
yes or no."""
"""What the judge is asked. Another wording is another judge: verdicts are kept by it."""

_VERDICT = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


class Judge:
    """Asks a model for verdicts and remembers them."""

    def __init__(self, name: str, ask: Ask, cache: Path | None = None) -> None:
        """Settles whom to ask.

        Args:
            name: identifies the model; verdicts of other names are not used.
            ask: gives the model's reply, greedily decoded.
            cache: JSONL file of verdicts, made if absent, appended to; None remembers them in memory alone.

        Raises:
            EvaluationError: the file holds a line that is no verdict.
        """
        self.name, self._ask, self._cache = name, ask, cache
        self._verdicts: dict[str, bool | None] = {}
        if cache and cache.exists():
            self._verdicts = _read(cache)

    def verdict(self, prediction: str, question: Question) -> bool | None:
        """Returns whether the prediction is right; None where the judge says neither yes nor no.

        An empty prediction is wrong, and a question without gold answers has no verdict; neither is asked about.
        """
        if not question.answers:
            return None
        if not prediction.strip():
            return False
        golds = "; ".join(question.answers)
        prompt = PROMPT.format(question=question.question, golds=golds, prediction=prediction)
        key = content_hash(self.name, prompt)
        if key not in self._verdicts:
            said = self._ask(prompt)
            match = _VERDICT.search(said)
            self._verdicts[key] = match[1].lower() == "yes" if match else None
            self._keep(key, said, question, prediction)
        return self._verdicts[key]

    def metrics(self) -> tuple[Metric, Metric]:
        """Returns `has_answer_judge` and `judge_agreement`."""

        def judged(prediction: str, question: Question) -> float:
            verdict = self.verdict(prediction, question)
            return UNDEFINED if verdict is None else float(verdict)

        def agreement(prediction: str, question: Question) -> float:
            verdict = self.verdict(prediction, question)
            return UNDEFINED if verdict is None else float(verdict == has_answer.score(prediction, question))

        source = f"{self.name}, as the judge of arXiv 2510.12668 (section 4)"
        return (
            Metric(_JUDGED, "A language model finds a gold answer in the prediction.", source, True, judged),
            Metric(_AGREEMENT, "The judge says what has_answer says.", source, True, agreement),
        )

    def _keep(self, key: str, said: str, question: Question, prediction: str) -> None:
        if not self._cache:
            return
        entry: Mapping[str, object] = {
            "key": key,
            "judge": self.name,
            "id": question.id,
            "question": question.question,
            "answers": list(question.answers),
            "prediction": prediction,
            "said": said,
            "verdict": self._verdicts[key],
        }
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        with self._cache.open("ab") as file:
            file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def _read(cache: Path) -> dict[str, bool | None]:
    """Verdicts by key; a last line without its end was torn by a kill and is cut off, to be asked again."""
    found: dict[str, bool | None] = {}
    length = 0
    with cache.open("r+b") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                found[entry["key"]] = entry["verdict"]
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(f"{cache}:{number}: not a verdict ({error}); remove this line") from error
            length += len(line)
        lines.truncate(length)
    return found


_JUDGED, _AGREEMENT = "has_answer_judge", "judge_agreement"
NAMES = (_JUDGED, _AGREEMENT)
"""Metrics that only a judge can compute."""
