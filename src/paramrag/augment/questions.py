"""Any resolved statement with a span -> candidates: the span asked for in its own sentence.

Three forms, from the most natural to the safest: a question with the verb before its subject (`In what year was X
founded?`), a question in place (`X joined the party in what year?`), and the sentence up to the span, to be completed
(`X is a harbour town on the north shore of`). The words around the span are the passage's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .candidates import Candidate
from .interrogatives import question_words
from .lexicon import (
    AUXILIARIES,
    NOT_PERSON,
    PAST_VERBS,
    PERSON_ROLES,
    PRESENT_VERBS,
    SMALL_WORDS,
    is_verb,
)
from .spans import Span, spans
from .statements import Statement
from .topics import Topic
from .words import content_forms, word_set

_CLAUSE = re.compile(
    r"[,;:—]|\s[–-]\s| (?:who|which|where|while|although|though|because|but|before|after|when|whereas|so that|"
    r"and (?=(?:\w+ ){0,4}(?:is|was|are|were|has|had|have|became|\w+ed)\b))"
)
_PARTICIPLE = re.compile(r"(?:been|made|born|known|built|led|written|held|given|taken|won|set|become|\w+ed)\b")
_UNIT = re.compile(
    r" (?:(?:square|cubic|light) )?(?:km|kg|mi|ft|cm|mm|m|people|men|women|feet|[a-z]{3,}[^s\Ws]s)\b(?![-/])"
)
_OPENERS = word_set("Born Known Built Due According Despite Initially Historically Once Almost Nearly")
_GAP = "Fill in the blank: "
_PREDICATE = re.compile(r"(?<!\bthe )(?<!\bThe )(?<!\ba )(?<!\bA )(?<!\bof )\b[a-z]+")  # `the causes` is no verb
_LONGEST = 32  # words of a question


def questions(statement: Statement, about: Topic, people: frozenset[str]) -> Iterator[Candidate]:
    """Yields candidates for every span of a resolved statement."""
    text = statement.text
    parts = text.split()
    if len(parts) < 8 and not any(is_verb(part) for part in parts):
        return  # a name in a list
    if not 4 <= len(parts) <= 150 or text.count('"') % 2 or text.count("“") != text.count("”"):
        return
    found = spans(text, people)
    opening = _opening(text)
    for one in _common_subject(text, statement.index):
        if fitted := _about(one, about, found, text):
            yield fitted
    for span in found:
        answer = text[span.start : span.end]
        before, after = text[: span.start], text[span.end :]
        if _inside_topic(text, span, about):
            continue
        made: list[Candidate] = []
        if span.start >= opening and _in_main_clause(before[opening:]):
            made += _subject(before, after, span, answer, statement.index, found)
            made += _inside(text, before, after, span, answer, statement, about, found)
        if span.start >= opening and (_in_main_clause(before[opening:]) or not re.search(r"[,;:\"“]", before)):
            made += _completed(before, after, span, answer, statement.index)
        made += _blank(text, before, after, span, answer, statement.index)
        for one in made:
            if fitted := _about(one, about, found, text):
                yield fitted


def _inside_topic(text: str, span: Span, about: Topic) -> bool:
    """Whether a span is a piece of the topic's own name."""
    if not about.name:
        return False
    places = ((match.start(), match.end()) for match in re.finditer(re.escape(about.name), text))
    return any(start <= span.start and span.end <= end and span.end - span.start < end - start for start, end in places)


def _in_main_clause(before: str) -> bool:
    """Whether what stands before a span is a subject with its verb (or nothing), so that it can be asked in place."""
    if not before or before == "The ":
        return True
    if re.search(r"[;:]", before) or before.count('"') % 2 or before.count("“") != before.count("”"):
        return False
    verb = next((match for match in _PREDICATE.finditer(before) if is_verb(match[0])), None)
    return verb is not None and not re.search(r", |\b(?:who|which|that|whose|where|when)\b", before[: verb.start()])


def _about(one: Candidate, about: Topic, found: list[Span], text: str) -> Candidate | None:
    """Adds the topic to a question that names nothing of its own."""
    if len(one.question.split()) > _LONGEST + 8:
        return None
    named = [text[span.start : span.end] for span in found if span.kind in ("name", "person", "quote", "list")]
    if any(name in one.question for name in named if name != one.answer) or (
        about.name and about.named in one.question
    ):
        return one
    if not about.name and len(content_forms(one.question.removeprefix(_GAP))) >= 4:
        return one
    if not about.name or about.name == one.answer:
        return None
    gap = one.question.removeprefix(_GAP)
    question = f"{about.subject}: {gap}" if gap == one.question else f"{_GAP[:-2]} ({about.name}): {gap}"
    return Candidate(question, one.answer, one.kind, one.quality - 0.1, one.sentence)


def _subject(before: str, after: str, span: Span, answer: str, index: int, found: list[Span]) -> Iterator[Candidate]:
    """The span is the subject: `Who designed the tower?`"""
    if before not in ("", "The ") or span.modifier or span.kind not in ("name", "person", "list", "quote"):
        return
    verb = re.match(r" ([a-z]+)\b", after)
    if not verb or not is_verb(verb[1]) or span.kind == "list":
        return
    rest = _clause(after)
    others = [one for one in found if one.start > span.end and one.start < span.end + len(rest)]
    if not others or len(rest.split()) < 3 or re.match(r" (?:is|was) (?:an?|the) ", rest):
        return  # `Who was a painter?` has no single answer
    wh = {"person": "Who", "quote": "What"}.get(span.kind, "Who or what")
    if set(answer.lower().split()) & (NOT_PERSON - {"the", "of", "for", "and"}):
        wh = "What"
    yield Candidate(f"{wh}{rest}?", answer, "qa", 0.74 if wh != "Who or what" else 0.62, index)


def _common_subject(text: str, index: int) -> Iterator[Candidate]:
    """The subject is common nouns: `What shows a white heron?`"""
    match = re.match(r"(?:The|An?) ((?:[a-z][a-z-]+ ){0,2}[a-z][a-z-]{2,}) ([a-z]+)\b", text)
    if not match or match[2] not in AUXILIARIES | PAST_VERBS | PRESENT_VERBS:
        return
    subject = match[1].split()
    rest = _clause(text[match.end(1) :])
    if any(word in SMALL_WORDS or is_verb(word) for word in subject) or len(rest.split()) < 5:
        return
    wh = "Who" if subject[-1] in PERSON_ROLES or subject[-1].rstrip("s") in PERSON_ROLES else "What"
    yield Candidate(f"{wh}{rest}?", match[1], "qa", 0.56 - 0.004 * len(rest.split()), index)


def _inside(
    text: str, before: str, after: str, span: Span, answer: str, statement: Statement, about: Topic, found: list[Span]
) -> Iterator[Candidate]:
    """The span is behind the verb: in place, and with the verb in front where its subject is plain."""
    if span.modifier or not before:
        return
    wh, cut, lead = question_words(before, after, span, text)
    if not wh:
        return
    kept = _clause(after[cut:]) if span.kind != "list" else ""
    in_place = f"{before}{wh}{kept}".strip()
    if len(in_place.split()) > _LONGEST or len(before.split()) < 2:
        return
    if re.search(r"[,;:] [^,;:]*[,;:]", before) and len(before.split()) > 20:
        return
    yield Candidate(
        f"{in_place}?",
        answer,
        "qa",
        (0.57 if span.kind == "phrase" else 0.66) - 0.004 * len(in_place.split()),
        statement.index,
    )
    turned = _turned(before, kept, lead, statement, about, found)
    if turned:
        yield Candidate(turned, answer, "qa", 0.82 - 0.004 * len(turned.split()), statement.index)


def _turned(before: str, kept: str, lead: str, statement: Statement, about: Topic, found: list[Span]) -> str:
    """`X was founded` + `In what year` -> `In what year was X founded ...?`; empty if the subject is not plain."""
    if not lead or (kept and lead.split()[0] in ("From", "Since", "Until", "By")):
        return ""
    stem = re.sub(r" (?:\w+)(?: the)?$", "", before.rstrip())  # without the preposition
    match = re.match(r"(.+?) (is|are|was|were|has|had|have|can|could|will|would|may|might|must) (.+)$", stem)
    if not match:
        return ""
    subject, verb, rest = match.groups()
    if verb in ("has", "had", "have") and not _PARTICIPLE.match(rest):
        return ""
    if not _plain_subject(subject, statement, about, found) or re.search(r"[,;:]", rest):
        return ""
    if re.match(r"(?:an?|the) ", rest) or re.search(
        r"\b(?:who|which|that|when|where|and|while|but|after|before|because)\b", rest
    ):
        return ""
    if subject == about.subject:
        subject = about.named
    elif subject.split()[0] in ("The", "A", "An", "Its", "His", "Her", "Some", "All", "Most", "Many", "Each", "Every"):
        subject = subject[0].lower() + subject[1:]
    kept = re.split(r" (?:and|or|but)\b", kept)[0]
    return f"{lead} {verb} {subject} {rest}{kept}?"


def _plain_subject(subject: str, statement: Statement, about: Topic, found: list[Span]) -> bool:
    if statement.about_topic and subject == about.subject:
        return True
    if any(span.start in (0, 4) and span.end == len(subject) and not span.modifier for span in found):
        return subject[0].isupper() and (not subject[: next(s.start for s in found)] or subject.startswith("The "))
    parts = subject.split()
    return (
        parts[0] in ("The", "A", "An")
        and 2 <= len(parts) <= 4
        and all(
            word.isalpha() and word.islower() and word not in SMALL_WORDS and not is_verb(word) for word in parts[1:]
        )
    )


def _completed(before: str, after: str, span: Span, answer: str, index: int) -> Iterator[Candidate]:
    """The sentence up to the span."""
    stem = before.rstrip()
    length = len(stem.split())
    if not 4 <= length <= _LONGEST or stem[-1] in ",;:(\"“'–-" or span.modifier:
        return
    last = stem.rsplit(" ", 1)[-1].lower()
    if last in (
        "and",
        "or",
        "but",
        "that",
        "which",
        "while",
        "when",
        "where",
        "as",
        "than",
        "although",
        "if",
        "because",
    ):
        return
    following = re.match(r" ([a-z]+)", after)
    if following and is_verb(following[1]):
        return  # the span belongs to the subject
    if span.kind == "number":
        unit = _UNIT.match(after)
        if re.match(r"\s*[-–]", after) or (
            not unit and re.match(r" \w", after) and after.split()[0] not in SMALL_WORDS
        ):
            return
        answer += unit[0] if unit else ""
    yield Candidate(stem, answer, "cloze", (0.58 if span.kind == "phrase" else 0.68) - 0.003 * length, index)


def _blank(text: str, before: str, after: str, span: Span, answer: str, index: int) -> Iterator[Candidate]:
    """The whole sentence with a gap: always grammatical, least like a question."""
    if len(text.split()) > _LONGEST:
        after = _clause(after)
    if (
        answer in before
        or answer in after
        or span.kind == "quote"
        or not 6 <= len((before + after).split()) <= _LONGEST
    ):
        return
    whole = before + after
    if (span.kind == "number" and len(answer) < 2) or whole.count('"') % 2 or whole.count("“") != whole.count("”"):
        return
    stop = "" if after.endswith((".", "!", "?", '."', ".”")) else "."
    quality = (0.36 if span.kind == "phrase" else 0.42) - 0.003 * len(text.split())
    yield Candidate(f"{_GAP}{before}___{after}{stop}", answer, "cloze", quality, index)


def _opening(text: str) -> int:
    """Returns where the main clause begins: behind an opening phrase, from which nothing can be asked in place."""
    first = text.split(" ", 1)[0]
    if (
        first.lower() in SMALL_WORDS - {"the", "a", "an", "his", "her", "its"}
        or first.endswith(("ing", "ed"))
        or first in _OPENERS
    ):
        comma = text.find(", ")
        return comma + 2 if comma > 0 else len(text)
    return 0


def _clause(after: str) -> str:
    """Returns what follows up to the end of the clause."""
    match = _CLAUSE.search(after)
    kept = (after[: match.start()] if match else after).rstrip(" .")
    return kept if kept.count('"') % 2 == 0 and kept.count("“") == kept.count("”") else ""
