"""Adding a corpus and searching it: seconds, peak memory, BM25 queries per second, hit@3 against bm25s.

    python benchmarks/collection.py DATA.jsonl [DATA.jsonl ...] [--json]

Takes question files whose lines carry their passages (the union of the passages is the corpus) and asks their own
questions back. bm25s (https://github.com/xhluca/bm25s) indexes the same passages with its English stop words and a
Snowball stemmer where both are installed; without it only our side is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paramrag import Collection
from paramrag.evaluate import Question, load_questions

K = 3


def measure(files: Sequence[Path], work: Path) -> dict[str, Any]:
    """Adds all files to a new collection and searches it with every question that has a gold passage."""
    collection = Collection.open(work / "collection")
    started = time.perf_counter()
    report = collection.add(list(files))
    add_seconds = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    questions = {path.stem: [q for q in load_questions(path) if any(p.gold for p in q.passages)] for path in files}
    asked = [question.question for group in questions.values() for question in group]
    started = time.perf_counter()
    for question in asked:
        collection.search(question, K)
    ours_per_second = len(asked) / (time.perf_counter() - started)
    found = {
        "files": len(files),
        "documents": report.added,
        "passages": len(collection.passage_ids()),
        "skipped": len(report.skipped),
        "add_seconds": round(add_seconds, 2),
        "peak_rss_mib": round(peak_mib),
        "questions": len(asked),
        "queries_per_second": round(ours_per_second, 1),
        "hit@3": {name: _hit_at_3(group, collection) for name, group in questions.items() if group},
    }
    bars = [_bar("BM25 queries per second", ours_per_second, 242.0)]
    if importlib.util.find_spec("bm25s"):
        theirs, seconds = _bm25s(collection, asked)
        found["bm25s_queries_per_second"] = round(theirs, 1)
        found["bm25s_index_seconds"] = round(seconds, 2)
    return {**found, "bars": bars}


def _hit_at_3(questions: Sequence[Question], collection: Collection) -> dict[str, float]:
    hits = 0
    for question in questions:
        gold = {judged.passage.id for judged in question.passages if judged.gold}
        hits += any(hit.passage.id in gold for hit in collection.search(question.question, K))
    return {"n": len(questions), "mean": round(hits / len(questions), 4)}


def _bm25s(collection: Collection, asked: Sequence[str]) -> tuple[float, float]:
    import bm25s

    stemmer = None
    if importlib.util.find_spec("Stemmer"):
        import Stemmer

        stemmer = Stemmer.Stemmer("english")
    texts = [f"{passage.title}\n{passage.text}" for passage in collection.passages()]
    started = time.perf_counter()
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    index_seconds = time.perf_counter() - started
    started = time.perf_counter()
    for question in asked:
        tokens = bm25s.tokenize(question, stopwords="en", stemmer=stemmer, show_progress=False)
        index.retrieve(tokens, k=K, show_progress=False)
    return len(asked) / (time.perf_counter() - started), index_seconds


def _bar(name: str, value: float, bar: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 1), "bar": bar, "better": "higher", "met": value >= bar}


def main() -> None:
    """Prints what was measured as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="one line")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    try:
        result = measure(arguments.files, work)
    finally:
        shutil.rmtree(work)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
