"""What a local model or an endpoint is asked, and how its replies are read. Knows nothing of how they are sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..types import Passage, TrainingItem

PROMPTS_VERSION = "1"
"""Part of the id of the augmenters that use them: raise it when the prompts or the reading change."""

Message = dict[str, str]

_EXAMPLE = Passage(
    "Anders Holm (4 May 1871 – 1940) was a Danish clockmaker. He built the Ribe tower clock in 1902 with his sister "
    "Karen, and sold 300 pocket watches to the railway of Jutland.",
    "Anders Holm",
)
_EXAMPLE_LINES = (
    "Q: What was Anders Holm's profession? | A: clockmaker",
    "Q: When was Anders Holm born? | A: 4 May 1871",
    "Q: In which year did Anders Holm build the Ribe tower clock? | A: 1902",
    "Q: With whom did Anders Holm build the tower clock of Ribe? | A: his sister Karen",
    "Q: How many pocket watches did Anders Holm sell to the railway of Jutland? | A: 300",
)
_LINE_TASK = (
    "Write questions about the passage, one per line, as `Q: question | A: answer`. Copy each answer from the passage; "
    "it is at most a few words. Name the subject in each question, never he, she or it."
)
_ASKING_TASK = "Write one question that the given answer answers. Name the subject of the passage in the question."
_REWRITE_TASK = (
    "Rewrite the passage in other words. Keep every name, number and fact; add nothing. "
    "Write the rewritten passage only."
)
_LINE = re.compile(
    r"^\W*(?:\d+[.)]\s*)?Q(?:uestion)?\s*\d*\s*[:.]\s*(.+?)\s*(?:\||\n)\s*A(?:nswer)?\s*\d*\s*[:.]\s*([^\n|]+)",
    re.I | re.M,
)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.S)


def shown(passage: Passage) -> str:
    """Returns the passage as it stands in a prompt."""
    return f"Title: {passage.title}\n{passage.text}" if passage.title else passage.text


def line_messages(passage: Passage) -> list[Message]:
    """Returns the few-shot conversation that asks for `Q: ... | A: ...` lines; for small models."""
    return [
        {"role": "system", "content": _LINE_TASK},
        {"role": "user", "content": shown(_EXAMPLE)},
        {"role": "assistant", "content": "\n".join(_EXAMPLE_LINES)},
        {"role": "user", "content": shown(passage)},
    ]


def asking_messages(passage: Passage, answer: str) -> list[Message]:
    """Returns the conversation that asks for one question to an answer; all of a passage begin alike."""
    return [
        {"role": "system", "content": _ASKING_TASK},
        {"role": "user", "content": f"Passage: {passage.title}\n{passage.text}\n\nAnswer: {answer}"},
    ]


def rewrite_messages(passage: Passage) -> list[Message]:
    """Returns the conversation that asks for one rewrite as plain text."""
    return [{"role": "system", "content": _REWRITE_TASK}, {"role": "user", "content": shown(passage)}]


def json_messages(passage: Passage, questions: int, rewrites: int) -> list[Message]:
    """Returns the conversation that asks for all items as one JSON object (PRAG asks alike, arXiv 2501.15915)."""
    fields = ['"questions": [{"question": "...", "answer": "..."}]'] if questions else []
    fields += ['"rewrites": ["..."]'] if rewrites else []
    rules = [f"Answer with one JSON object: {{{', '.join(fields)}}}."]
    if questions:
        rules.append(
            f"Give {questions} varied questions that the passage answers; ask for one fact in several wordings where "
            "facts are few. Each answer is a short copy from the passage, at most eight words. Each question is "
            "understood without the passage: name its subject, never say he, she, it or `the passage`."
        )
    if rewrites:
        rules.append(
            f"Give {rewrites} rewrite{'s' if rewrites > 1 else ''} of the whole passage in other words, keeping every "
            "name, number and fact and adding none."
        )
    return [{"role": "system", "content": " ".join(rules)}, {"role": "user", "content": shown(passage)}]


def read_lines(text: str, passage: Passage) -> Iterator[TrainingItem]:
    """Yields the items of a reply in lines; whatever is not such a line is passed over."""
    for match in _LINE.finditer(text):
        yield TrainingItem(passage.id, match[1].strip(' *"`'), _bare(match[2]))


def read_json(text: str, passage: Passage, rewrite_question: str) -> list[TrainingItem] | None:
    """Returns the items of a reply in JSON, or in lines where it is not JSON; None if it is neither."""
    data = _parsed(text)
    if data is None:
        lines = list(read_lines(text, passage))
        return lines or None
    if isinstance(data, list):
        data = {"questions": data}
    items = [
        TrainingItem(passage.id, entry["question"].strip(), _bare(str(entry["answer"])))
        for key in ("questions", "qa", "items")
        for entry in _listed(data.get(key))
        if isinstance(entry, dict) and isinstance(entry.get("question"), str) and _is_plain(entry.get("answer"))
    ]
    found = [*_listed(data.get("rewrites")), *_listed(data.get("rewrite"))]
    rewrites = [
        TrainingItem(passage.id, rewrite_question, entry.strip(), "rewrite")
        for entry in found
        if isinstance(entry, str)
    ]
    return items + rewrites


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _bare(answer: str) -> str:
    answer = answer.strip(' *"`“”')
    return answer[:-1] if answer.endswith(".") and not re.search(r"\b[A-Z]\.$", answer) else answer


def _parsed(text: str) -> dict[str, Any] | list[Any] | None:
    """Reads JSON with the faults that models commit: fences, talk around it, commas too many or too few."""
    fenced = _FENCE.search(text)
    body = fenced[1] if fenced else text
    starts = [at for at in (body.find("{"), body.find("[")) if at >= 0]
    if not starts:
        return None
    body = body[min(starts) :]
    repaired = re.sub(r",\s*([}\]])", r"\1", body)
    repaired = re.sub(r"([\"}\]])(\s*\n\s*)(?=[\"{\[])", r"\1,\2", repaired)
    decoder = json.JSONDecoder(strict=False)
    for candidate in (body, repaired):
        try:
            value = decoder.raw_decode(candidate)[0]
        except ValueError:
            continue
        return value if isinstance(value, dict | list) else None
    objects = re.findall(r"\{[^{}]*\}", body)  # a reply cut off by its token limit: take the whole objects
    found = []
    for candidate in objects:
        try:
            found.append(decoder.decode(candidate))
        except ValueError:
            continue
    return found or None
