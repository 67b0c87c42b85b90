"""KILT: `{"id", "input", "output": [{"answer", "provenance": [...]}], "meta"}` (arXiv 2009.02252).

Provenance names pages and paragraphs of KILT's own Wikipedia, not their text: it is kept as metadata.
"""

from __future__ import annotations

from ..questions import Question
from .format import Format, task_of
from .record import Record


def parse(record: Record) -> Question:
    """Returns the question of one entry."""
    text = record.text("input")
    outputs = record.value["output"]
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise record.error("'output' is not a list of objects", 'write "output": [{"answer": ...}]')
    answers = record.answers([output["answer"] for output in outputs if output.get("answer")], "output")
    provenance = [source for output in outputs for source in output.get("provenance") or ()]
    metadata = {**record.rest("id", "input", "output"), "provenance": provenance}
    return Question(record.text("id"), text, answers, (), task_of(text, answers), metadata)


FORMAT = Format("KILT", ("input", "output"), lambda path: parse)
