"""A server for a long time under load, while documents are added, encoded, asked and deleted.

    python benchmarks/soak.py [--json] [--minutes 30] [--clients 8] [--collection DIR]

Clients ask the demo's questions in all modes, one after the other, half of the time in streams; every fourth question
is about a document that was deleted. Beside them a document with an invented fact is added, encoded, asked closed book
and deleted, over and over. Memory is the server's resident set, after a warm-up of a fifth of the time: the median of
the last fifth of the time against that of the second. Nothing that was deleted may stand in an answer, or among its
references, whose request came after the deletion returned. Without --collection the demo is encoded first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from load import MODEL, bar, chat, percentiles, served, stream
from paramrag.demo import demo_questions
from serving import encoded_demo

TOKENS = 20
MODES = ("vanilla", "t-rag", "p-rag", "pt-rag")
SYLLABLES = ("bra", "dor", "fen", "gul", "hesk", "kim", "lor", "mav", "nup", "ost", "pel", "quor", "rith", "sul", "tev")


@dataclass(frozen=True)
class Fact:
    """A document with one invented fact."""

    document_id: str
    text: str
    question: str
    answer: str


@dataclass
class Found:
    """What went on."""

    answers: Counter[str] = field(default_factory=Counter)
    total_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    deleted: list[Fact] = field(default_factory=list)
    known: int = 0
    """Facts that were answered closed book before their document was deleted."""
    asked_deleted: int = 0
    memory_mib: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the beginning, resident MiB)."""


def fact(number: int) -> Fact:
    """The fact of a number; up to some hundreds no two have a painter in common."""
    choose = random.Random(number)
    place, painter = ("".join(choose.choices(SYLLABLES, k=3)).capitalize() for _ in range(2))
    place = f"{place} {number}"
    painter += "".join(SYLLABLES[digit % len(SYLLABLES)] for digit in (number, number // len(SYLLABLES)))
    text = f"The lighthouse of {place} has 211 steps. The lighthouse of {place} was painted by {painter} in 1954."
    return Fact(f"soak-{number}", text, f"Who painted the lighthouse of {place}?", painter)


def soak(url: str, server: int, seconds: float, clients: int) -> Found:
    """Loads a server for some seconds."""
    found, end, began = Found(), time.monotonic() + seconds, time.monotonic()
    turns = itertools.count()
    questions = [question.question for question in demo_questions()]

    def guarded(work: Any) -> None:
        with httpx.Client(base_url=url, timeout=600) as http:
            while time.monotonic() < end:
                try:
                    work(http)
                except Exception as error:  # noqa: BLE001 - what is counted here
                    found.errors.append(f"{type(error).__name__}: {error}"[:500])
                    time.sleep(0.2)

    def client(http: httpx.Client) -> None:
        turn = next(turns)
        mode = MODES[turn % 4]
        gone = tuple(found.deleted)
        about = random.choice(gone) if gone and turn // 4 % 4 == 0 else None
        body = chat(f"{MODEL}:{mode}", about.question if about else questions[turn % len(questions)], TOKENS)
        if about is None and turn % 2:
            told = stream(http, "/v1/chat/completions", body)
            text, total = told.text, told.total_s
        else:
            text, total = asked(http, body, gone)
        found.answers[mode] += 1
        found.total_s.append(total)
        found.asked_deleted += about is not None
        if about and about.answer.lower() in text.lower():
            found.leaks.append(f"{mode}: {about.question} {text}")

    def asked(http: httpx.Client, body: dict[str, Any], gone: tuple[Fact, ...]) -> tuple[str, float]:
        started = time.monotonic()
        answer = http.post("/v1/chat/completions", json={**body, "references": True}).raise_for_status().json()
        names = {entry["document_id"] for entry in answer["references"]}
        if wrong := names & {entry.document_id for entry in gone}:
            found.leaks.append(f"{body['model']}: {sorted(wrong)} among the references")
        return str(answer["choices"][0]["message"]["content"]), time.monotonic() - started

    def editor(http: httpx.Client) -> None:
        own = fact(len(found.deleted))
        documents = [{"id": own.document_id, "text": own.text}]
        job = http.post("/v1/documents", json={"documents": documents}).raise_for_status().json()["job"]
        while job["status"] in ("queued", "running"):
            time.sleep(0.5)
            job = http.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        if job["status"] != "done" or job["failed"]:
            raise RuntimeError(f"encoding ended as {job}")
        body = chat(f"{MODEL}:p-rag", own.question, TOKENS)
        found.known += own.answer.lower() in asked(http, body, ())[0].lower()
        http.delete(f"/v1/documents/{own.document_id}").raise_for_status()
        found.deleted.append(own)

    def watch(_: httpx.Client) -> None:
        pages = int(Path(f"/proc/{server}/statm").read_text().split()[1])
        found.memory_mib.append((time.monotonic() - began, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
        if len(found.memory_mib) % 60 == 1:
            counts = f"{sum(found.answers.values())} answers, {len(found.deleted)} deleted, {len(found.errors)} errors"
            mib = found.memory_mib[-1][1]
            print(f"{time.strftime('%H:%M:%S')} {mib:.0f} MiB, {counts}", file=sys.stderr, flush=True)
        time.sleep(1)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in [client] * clients + [editor, watch]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def summary(found: Found, seconds: float) -> dict[str, Any]:
    """Numbers and bars."""

    def fifth(which: int) -> float:
        within = [mib for at, mib in found.memory_mib if which <= at / seconds * 5 < which + 1]
        return statistics.median(within)

    early, late = fifth(1), fifth(4)
    after = [(at, mib) for at, mib in found.memory_mib if at >= seconds / 5]
    slope = statistics.linear_regression([at for at, _ in after], [mib for _, mib in after]).slope
    answers = sum(found.answers.values())
    return {
        "minutes": round(seconds / 60, 2),
        "answers": dict(found.answers),
        "answers_per_s": round(answers / seconds, 3),
        "total_s": percentiles(found.total_s),
        "documents_deleted": len(found.deleted),
        "known_before_deletion": found.known,
        "asked_after_deletion": found.asked_deleted,
        "memory_mib": {"second_fifth": round(early, 1), "last_fifth": round(late, 1)},
        "memory_slope_mib_per_hour": round(slope * 3600, 1),
        "errors": found.errors[:10],
        "leaks": found.leaks[:10],
        "bars": [
            bar("errors", len(found.errors), 0, "lower"),
            bar("answers or references from a deleted document", len(found.leaks), 0, "lower"),
            bar("memory, last fifth / second fifth", late / early, 1.05, "lower"),
        ],
    }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--collection", type=Path, help="a collection of the demo, encoded; it is not changed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "collection"
        if arguments.collection:
            shutil.copytree(arguments.collection, directory)
        else:
            encoded_demo(directory)
        with served(directory) as (url, server):
            seconds = arguments.minutes * 60
            result = summary(soak(url, server, seconds, arguments.clients), seconds)
    if not arguments.json:
        for one in result["bars"]:
            print(f"{one['name']:45} {one['value']:8} (bar {one['bar']}, {'met' if one['met'] else 'missed'})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
