"""BEIR: `queries.jsonl` (`{"_id", "text"}`) beside `corpus.jsonl` and `qrels/*.tsv` (arXiv 2104.08663).

BEIR judges retrieval: a query has gold passages, and answers only where its metadata brings them (`answers` or
`answer`). Queries without a judgement are not asked.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from ...errors import EvaluationError
from ...types import Passage
from ..questions import JudgedPassage, Question
from .format import Format, Parse
from .record import Record, read_records


def open_queries(path: Path) -> Parse:
    """Reads the judgements and the judged passages that stand beside the queries."""
    gold = _judgements(path)
    passages = _passages(path, {passage_id for ids in gold.values() for passage_id in ids})

    def parse(record: Record) -> Question | None:
        ids = gold.get(str(record.value["_id"]))
        if not ids:
            return None
        metadata = record.rest("_id", "text", "metadata")
        inner = record.value.get("metadata")
        metadata |= inner if isinstance(inner, dict) else {}
        key = next((key for key in ("answers", "answer") if key in metadata), None)
        answers = record.answers(metadata.pop(key), f"metadata.{key}") if key else ()
        judged = tuple(JudgedPassage(passages[passage_id], True) for passage_id in ids)
        task = "qa" if answers else "retrieval"
        return Question(record.identity("_id"), record.text("text"), answers, judged, task, metadata)

    return parse


def _judgements(path: Path) -> dict[str, list[str]]:
    """Query id -> ids of relevant passages, from qrels/test.tsv or the only file there is."""
    folder = path.parent / "qrels"
    files = sorted(folder.glob("*.tsv"))
    test = folder / "test.tsv"
    if test not in files and len(files) != 1:
        raise EvaluationError(
            f"{path} holds BEIR queries, but {folder} has {len(files)} .tsv files and no test.tsv; "
            "expected qrels/test.tsv, or exactly one other file, beside the queries"
        )
    chosen = test if test in files else files[0]
    relevant: dict[str, list[str]] = defaultdict(list)
    with chosen.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if number == 1 and row[-1:] == ["score"]:
                continue
            try:
                query_id, passage_id, score = row
                if int(score) > 0:
                    relevant[query_id].append(passage_id)
            except ValueError as error:
                raise EvaluationError(
                    f"{chosen}:{number}: {row}, expected query-id, corpus-id and a whole score, apart by tabs"
                ) from error
    return relevant


def _passages(path: Path, wanted: set[str]) -> dict[str, Passage]:
    corpus = path.parent / "corpus.jsonl"
    found: dict[str, Passage] = {}
    for record in read_records(corpus):
        passage_id = str(record.value.get("_id"))
        if passage_id in wanted:
            found[passage_id] = record.passage(record.value, "corpus")
    missing = sorted(wanted - found.keys())
    if missing:
        raise EvaluationError(
            f"{corpus} lacks {len(missing)} judged passages, the first is {missing[0]!r}; "
            "use the corpus and qrels of one data set"
        )
    return found


FORMAT = Format("BEIR", ("_id", "text"), open_queries)
