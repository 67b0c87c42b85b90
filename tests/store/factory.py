"""Small real passages, documents, layouts and adapters for the tests of the store."""

from __future__ import annotations

import hashlib

import numpy as np

from paramrag.config import Recipe, load_recipe
from paramrag.store.layout import AdapterLayout
from paramrag.types import Adapter, AdapterKey, Document, ModuleShape, Passage, content_hash

BASE = "base-fingerprint"
RECIPE: Recipe = load_recipe("default")
LAYOUT = AdapterLayout(
    layers=(0, 2), modules=(ModuleShape("gate_proj", 8, 12), ModuleShape("down_proj", 12, 8)), rank=2, alpha=32.0
)


def document(name: str, *texts: str, title: str = "") -> Document:
    """A document with one passage per text, all under the title, which is the name if none is given."""
    title = title or name
    passages, start = [], 0
    for text in texts:
        passages.append(Passage(text, title, start, start + len(text)))
        start += len(text) + 1
    return Document(name, title, content_hash(title, *texts), tuple(passages))


def adapter(passage_id: str, salt: str = "", *, layout: AdapterLayout = LAYOUT, base: str = BASE) -> Adapter:
    """An adapter whose numbers follow from its passage, so that a wrong row is noticed."""
    seed = int(hashlib.sha256((passage_id + salt).encode()).hexdigest()[:8], 16)
    row = np.random.default_rng(seed).standard_normal(layout.size).astype(np.float32)
    return Adapter(AdapterKey(passage_id, base, RECIPE.id), row, layout, {"loss": 0.5, "steps": 3.0})
