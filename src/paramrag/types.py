"""The values that flow through the system, in the order in which they appear.

    Document -> Passage -> TrainingItem -> Adapter -> Injection
    question -> Hit -> Injection -> Answer (with its Trace)

All are frozen. Nothing here computes, and nothing here imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .store.layout import AdapterLayout

Activation = Literal["full", "answer"]
"""Where in the sequence an injection is on: everywhere, or from the last prompt token on."""

Progress = Callable[[str, int, int | None], None]
"""Called as (stage, done, total or None) while long work advances; the CLI draws it as a bar."""


def content_hash(*parts: str, length: int = 20) -> str:
    """Returns the first `length` hex digits of SHA-256 over the parts, separated unambiguously."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:length]


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit of retrieval and of encoding: a piece of a document, identified by what it says."""

    text: str
    """The passage itself, without its title."""
    title: str = ""
    """Title of the document, or the nearest heading."""
    start: int = 0
    """Offset of the first character in the document's text."""
    end: int = 0
    """Offset after the last character in the document's text; 0 if the span is not known."""

    @property
    def id(self) -> str:
        """Content hash of title and text: the same words are the same passage, wherever they came from."""
        return content_hash(self.title, self.text)


@dataclass(frozen=True, slots=True)
class Document:
    """What a reader yields: one source, already cut into passages."""

    id: str
    """Stable name of the source: the file's path, or `path#record` inside a corpus file."""
    title: str
    """Title, from the content where it has one, else from the file name."""
    fingerprint: str
    """Content hash of the source and of how it was cut; an unchanged document keeps it."""
    passages: tuple[Passage, ...]
    """The passages, in reading order."""


@dataclass(frozen=True, slots=True)
class TrainingItem:
    """One question and answer made from a passage, to train that passage's adapter."""

    passage_id: str
    """The passage that holds the answer."""
    question: str
    """Closed-book question; it names its subject."""
    answer: str
    """The answer the adapter must learn to give."""
    kind: str = "qa"
    """How the item was made: `qa`, `cloze`, `rewrite`, `summary`, `passage`."""
    span: tuple[int, int] | None = None
    """Where the answer stands in the passage's text, if it is a copy."""

    @property
    def id(self) -> str:
        """Content hash of the item."""
        return content_hash(self.passage_id, self.kind, self.question, self.answer)


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """One adapted linear projection of a feed-forward block: the same in every layer."""

    name: str
    """`gate_proj`, `up_proj` or `down_proj`."""
    in_features: int
    """Width of its input."""
    out_features: int
    """Width of its output."""


@dataclass(frozen=True, slots=True)
class AdapterKey:
    """Whose adapter, for which model, made how. Two equal keys are the same adapter."""

    passage_id: str
    """The passage that was encoded."""
    base: str
    """Fingerprint of the base model."""
    recipe: str
    """Id of the recipe."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """The LoRA factors of one passage under one recipe: a flat row with a fixed layout."""

    key: AdapterKey
    """Identity; an adapter is refused where base or recipe differ."""
    row: np.ndarray
    """float32 [P]."""
    layout: AdapterLayout
    """Where each factor stands in the row."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """What its making cost and reached: `steps`, `loss`, `seconds`, `items`."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What the engine adds to the feed-forward layers for one row of a batch.

    For every adapted layer l and module m, `output += (input @ A[m][l].T) @ B[m][l]`. Scales and weights are
    already folded into B.
    """

    layers: tuple[int, ...]
    """Adapted layers, ascending; L of them."""
    a: Mapping[str, torch.Tensor]
    """Module name -> [L, R, in]."""
    b: Mapping[str, torch.Tensor]
    """Module name -> [L, R, out]."""
    activation: Activation
    """Where in the sequence it is on."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved passage."""

    passage: Passage
    """The passage."""
    document_id: str
    """A document that holds it."""
    score: float
    """The retriever's score; comparable within one query only."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question and how it is put. A plain string is a question in free text."""

    text: str
    """What is searched for and asked."""
    form: Literal["question", "claim"] = "question"
    """A claim is to be judged, not answered."""
    choices: tuple[str, ...] = ()
    """The only answers allowed, named in the prompt; none for free text."""
    id: str = ""
    """Whose question it is, where somebody keeps count."""
    hits: tuple[Hit, ...] | None = None
    """Passages given with it, best first; None: retrieve them."""


@dataclass(frozen=True, slots=True)
class Used:
    """What one hit contributed to one answer."""

    hit: Hit
    """The retrieved passage."""
    in_text: bool
    """Whether its text was in the prompt."""
    adapter: AdapterKey | None
    """Its adapter, if that was injected."""
    weight: float
    """Weight of the adapter in the injection; 0 if none."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How an answer came about: milliseconds per stage and token counts."""

    retrieve_ms: float = 0.0
    """Query to hits."""
    gather_ms: float = 0.0
    """Adapters read and combined."""
    prefill_ms: float = 0.0
    """Prompt read, first token known. For a batch: the time of the batch the question was in."""
    decode_ms: float = 0.0
    """Remaining tokens."""
    total_ms: float = 0.0
    """Question to answer."""
    prompt_tokens: int = 0
    """Tokens in the prompt."""
    completion_tokens: int = 0
    """Tokens generated, the end token not counted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of one mode, with everything that went into it."""

    question: str
    """As asked."""
    mode: str
    """Name of the mode."""
    text: str
    """What the model said, stripped."""
    used: tuple[Used, ...]
    """The retrieved passages and where each went."""
    trace: Trace
    """Timings and token counts."""
    finish_reason: Literal["stop", "length"] = "stop"
    """Whether the model stopped or the token cap did."""

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The retrieved passages, best first."""
        return tuple(entry.hit for entry in self.used)

    def to_json(self) -> dict[str, Any]:
        """Returns the stable `ask --json` object (DESIGN: stable outputs)."""
        return {
            "question": self.question,
            "mode": self.mode,
            "answer": self.text,
            "hits": [
                {
                    "passage_id": entry.hit.passage.id,
                    "document_id": entry.hit.document_id,
                    "title": entry.hit.passage.title,
                    "score": round(entry.hit.score, 4),
                    "in_text": entry.in_text,
                    "adapter_id": f"{entry.adapter.passage_id}-{entry.adapter.recipe}" if entry.adapter else None,
                    "weight": round(entry.weight, 4),
                }
                for entry in self.used
            ],
            "timings_ms": {
                "retrieve": round(self.trace.retrieve_ms, 2),
                "gather": round(self.trace.gather_ms, 2),
                "prefill": round(self.trace.prefill_ms, 2),
                "decode": round(self.trace.decode_ms, 2),
                "total": round(self.trace.total_ms, 2),
            },
            "tokens": {"prompt": self.trace.prompt_tokens, "completion": self.trace.completion_tokens},
        }
