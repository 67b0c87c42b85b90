"""What a hypernetwork learns from: passages as it reads them, their items, and the base model's traces at the answers.

Made once, a shard of passages at a time, and kept on disk, so that an interrupted training goes on where it was.

Shapes: M labels of a passage, L adapted layers, I inner width of the feed-forward block, D model width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ...augment.validation import validate
from ...config import Recipe
from ...infer.injection import BatchFactors, injected
from ...models import BaseModel
from ...store.layout import AdapterLayout
from ...types import Passage, TrainingItem, content_hash
from ..contexts import Contexts, read_tails
from ..sequences import NO_LABEL, TrainingSequence, sequences
from .reading import Reading, read

LIKELY = 16
"""The base model's likeliest tokens that are kept at each label."""
MAX_LABELS = 12
"""Items with longer answers are left out: they cost most and are hardest."""
KINDS = ("qa", "cloze")
"""Of items that are learnt from, the better first."""
CONTEXT_TOKENS = 4096
TAIL_ROWS = 32


@dataclass(frozen=True, slots=True)
class Traces:
    """The base model at every label of a passage's items, without the passage's adapter."""

    labels: torch.Tensor
    """Tokens to predict, int64 [M]."""
    owners: torch.Tensor
    """The item each belongs to, int64 [M]."""
    inner: torch.Tensor
    """Input of down_proj of the adapted layers, float16 [M, L, I]."""
    final: torch.Tensor
    """Output of the last layer, float32 [M, D]."""
    likely: torch.Tensor
    """Likeliest tokens, int64 [M, LIKELY]."""
    mass: torch.Tensor
    """Logarithm of the sum of all exponentiated logits, float32 [M]."""


@dataclass(frozen=True, slots=True)
class Example:
    """One passage."""

    passage: Passage
    items: tuple[TrainingItem, ...]
    reading: Reading
    traces: Traces


def chosen_items(
    base: BaseModel, passage: Passage, items: Sequence[TrainingItem], count: int, seed: int
) -> list[TrainingItem]:
    """Returns up to `count` valid items, one for each answer: one of the questions for it, else one of the clozes."""
    short = [
        item
        for item in validate(items, passage)[0]
        if item.kind in KINDS and len(base.tokenizer(item.answer).input_ids) < MAX_LABELS
    ]
    best: dict[str, int] = {}
    for item in short:
        best[item.answer] = min(best.get(item.answer, len(KINDS)), KINDS.index(item.kind))
    return one_each(passage, [item for item in short if KINDS.index(item.kind) == best[item.answer]], seed)[:count]


def one_each(passage: Passage, items: Sequence[TrainingItem], seed: int) -> list[TrainingItem]:
    """Returns one item for each answer, in one of the wordings that it is asked in, in an order drawn."""
    random = np.random.default_rng([seed, int(content_hash(passage.id, length=15), 16)])
    by_answer: dict[str, list[TrainingItem]] = {}
    for item in items:
        by_answer.setdefault(item.answer, []).append(item)
    answers = list(by_answer)
    drawn = [by_answer[answers[at]] for at in random.permutation(len(answers))]
    return [wordings[int(random.integers(len(wordings)))] for wordings in drawn]


def examples(
    base: BaseModel,
    recipe: Recipe,
    layout: AdapterLayout,
    pairs: Sequence[tuple[Passage, Sequence[TrainingItem]]],
    beneath: BatchFactors | None,
) -> list[Example]:
    """Reads passages and their items; passages without items are left out.

    Args:
        beneath: on while answering, as it will be when adapters are used.
    """
    assert recipe.hypernet
    kept = [(passage, tuple(items)) for passage, items in pairs if items]
    made = [sequences(base, recipe, passage, items) for passage, items in kept]
    contexts = Contexts(base, (one.context for own in made for one in own), CONTEXT_TOKENS)
    readings = read(base, [passage for passage, _ in kept], recipe.hypernet.depths)
    numbered = [(at, item, one) for at, own in enumerate(made) for item, one in enumerate(own)]
    numbered.sort(key=lambda entry: len(entry[2].tail))
    parts: dict[tuple[int, int], Traces] = {}
    for start in range(0, len(numbered), TAIL_ROWS):
        group = numbered[start : start + TAIL_ROWS]
        found = _traces(base, layout, [one for _, _, one in group], contexts, beneath)
        parts |= {(at, item): traces for (at, item, _), traces in zip(group, found, strict=True)}
    return [
        Example(passage, items, reading, _joined([parts[at, item] for item in range(len(own))]))
        for at, ((passage, items), reading, own) in enumerate(zip(kept, readings, made, strict=True))
    ]


@torch.no_grad()
def _traces(
    base: BaseModel,
    layout: AdapterLayout,
    group: Sequence[TrainingSequence],
    contexts: Contexts,
    beneath: BatchFactors | None,
) -> list[Traces]:
    inner: dict[int, torch.Tensor] = {}
    outputs: list[torch.Tensor] = []

    def inner_of(layer: int) -> Any:
        return lambda _, args: inner.__setitem__(layer, args[0].half())

    hooks = [base.ffn[layer]["down_proj"].register_forward_pre_hook(inner_of(layer)) for layer in layout.layers]
    hooks.append(base.decoder.norm.register_forward_pre_hook(lambda _, args: outputs.append(args[0])))
    try:
        with injected(base, beneath):
            read_tails(base, [one.context for one in group], [one.tail for one in group], contexts)
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for row, one in enumerate(group):
        labels = torch.tensor(one.labels)
        at = (labels != NO_LABEL).nonzero()[:, 0]
        final_MD = outputs[-1][row, at.to(base.device)].float()
        logits_MV = base.head(final_MD.to(base.dtype)).float()
        found.append(
            Traces(
                labels[at],
                torch.zeros(len(at), dtype=torch.long),
                torch.stack([inner[layer][row, at.to(base.device)] for layer in layout.layers], 1).cpu(),
                final_MD.cpu(),
                logits_MV.topk(min(LIKELY, logits_MV.shape[-1])).indices.cpu(),
                logits_MV.logsumexp(-1).cpu(),
            )
        )
    return found


def _joined(parts: Sequence[Traces]) -> Traces:
    """Joins the traces of a passage's items; owners count them."""
    return Traces(
        torch.cat([part.labels for part in parts]),
        torch.cat([torch.full_like(part.labels, item) for item, part in enumerate(parts)]),
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("inner", "final", "likely", "mass")),
    )


_TENSORS = ("labels", "owners", "inner", "final", "likely", "mass")


def save_examples(path: Path, found: Sequence[Example]) -> None:
    """Writes a shard; it appears whole."""
    tensors: dict[str, torch.Tensor] = {}
    for at, example in enumerate(found):
        tensors |= {f"{at}.{name}": getattr(example.traces, name).contiguous() for name in _TENSORS}
        tensors |= {f"{at}.ids": example.reading.ids, f"{at}.states": example.reading.states.contiguous()}
    about = [{"passage": asdict(one.passage), "items": [asdict(item) for item in one.items]} for one in found]
    scratch = path.with_suffix(".part")
    save_file(tensors, scratch, {"examples": json.dumps(about)})
    scratch.replace(path)


def load_examples(path: Path) -> Iterator[Example]:
    """Reads a shard."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["examples"])
    tensors = load_file(path)
    for at, entry in enumerate(about):
        items = tuple(
            TrainingItem(**{**item, "span": tuple(item["span"]) if item["span"] else None}) for item in entry["items"]
        )
        yield Example(
            Passage(**entry["passage"]),
            items,
            Reading(tensors[f"{at}.ids"], tensors[f"{at}.states"]),
            Traces(*(tensors[f"{at}.{name}"] for name in _TENSORS)),
        )
