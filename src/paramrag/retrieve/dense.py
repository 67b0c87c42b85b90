"""Dense retrieval: exact cosine search over vectors that are kept in the collection.

Vectors are computed once per passage and model, in batches, for passages that lack them, the first time a query
comes after a change. The model is a static one (model2vec: numpy, no torch) or a sentence-transformers model; both
are extras. Shapes: N passages, D dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import ConfigError
from ..types import Hit, Progress
from .protocol import check_k

if TYPE_CHECKING:
    from ..store.collection import Collection

DEFAULT_MODEL = "minishlab/potion-retrieval-32M"
_BATCH = 512


class Encoder(Protocol):
    """An embedding model."""

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns one vector per text, [N, D]."""
        ...


class Dense:
    """A retriever over the vectors of one model."""

    def __init__(self, collection: Collection, encoder: Encoder, name: str, progress: Progress | None) -> None:
        self._collection = collection
        self._encoder = encoder
        self._name = name
        self._progress = progress
        self._revision = -1
        self._ids: list[str] = []
        self._vectors_ND = np.empty((0, 0), dtype=np.float32)

    def __call__(self, query: str, k: int) -> list[Hit]:
        """Returns the k passages nearest to the query by cosine; equal scores by passage id."""
        check_k(k)
        self._refresh()
        if k == 0 or not query.strip() or not self._ids:
            return []
        query_D = _unit(self._encode([query]))[0]
        if not query_D.any():  # no token that the model knows
            return []
        scores_N = self._vectors_ND @ query_D
        k = min(k, len(scores_N))
        border = np.partition(scores_N, -k)[-k]
        rows = np.flatnonzero(scores_N >= border)
        best = sorted((-float(scores_N[row]), self._ids[row]) for row in rows)[:k]
        ids = [passage_id for _, passage_id in best]
        passages, documents = self._collection.passages(ids), self._collection.document_of(ids)
        return [
            Hit(passage, documents[passage_id], -negative)
            for (negative, passage_id), passage in zip(best, passages, strict=True)
        ]

    def _refresh(self) -> None:
        """Embeds what has come since the last query and loads the vectors, where documents changed."""
        revision = self._collection.revision
        if revision == self._revision:
            return
        known, vectors = self._collection.vectors(self._name)
        missing = sorted(set(self._collection.passage_ids()) - set(known))
        for first in range(0, len(missing), _BATCH):
            if self._progress:
                self._progress("embed", first, len(missing))
            ids = missing[first : first + _BATCH]
            texts = [f"{passage.title}\n{passage.text}".strip() for passage in self._collection.passages(ids)]
            self._collection.put_vectors(self._name, ids, self._encode(texts))
        if missing:
            known, vectors = self._collection.vectors(self._name)
            if self._progress:
                self._progress("embed", len(missing), len(missing))
        self._ids, self._vectors_ND, self._revision = known, _unit(vectors), revision

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.nan_to_num(np.asarray(self._encoder.encode(texts), dtype=np.float32))


def dense(
    collection: Collection, model: str | Encoder = DEFAULT_MODEL, *, name: str = "", progress: Progress | None = None
) -> Dense:
    """Returns dense retrieval over a collection.

    Args:
        collection: where the passages are, and where their vectors are kept.
        model: a hub id or folder of a model2vec or sentence-transformers model, or an object with `encode`.
        name: under which an encoder object's vectors are kept; another model needs another name.
        progress: called as ("embed", passages done, passages to do).

    Raises:
        ConfigError: the extra is not installed, the model cannot be loaded, or an encoder has no name.
    """
    if isinstance(model, str):
        return Dense(collection, _load(model), name or _identity(model), progress)
    if not name:
        raise ConfigError("dense got an encoder object without a name; expected name='...' to keep its vectors under")
    return Dense(collection, model, name, progress)


def _load(model: str) -> Encoder:
    if _is_static(model):
        library, extra = "model2vec", "dense"
    else:
        library, extra = "sentence_transformers", "sentence-transformers"
    try:
        if library == "model2vec":
            from model2vec import StaticModel as Model
        else:
            from sentence_transformers import SentenceTransformer as Model
    except ImportError as error:
        raise ConfigError(
            f"dense retrieval with {model!r} needs {library}, which is not installed: pip install 'paramrag[{extra}]'"
        ) from error
    try:
        loaded: Encoder = Model.from_pretrained(model) if library == "model2vec" else Model(model)
    except Exception as error:
        raise ConfigError(
            f"embedding model {model!r} cannot be loaded: {error}; expected a hub id or a folder"
        ) from error
    return loaded


def _is_static(model: str) -> bool:
    """A folder says by its weights what it is; hub ids of static models are those of their publisher."""
    weights = Path(model) / "model.safetensors"
    if not weights.is_file():
        return model.startswith("minishlab/")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            return "embeddings" in file.keys()  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ConfigError(
            f"embedding model {model!r} cannot be loaded: {error}; expected a hub id or a folder"
        ) from error


def _identity(model: str) -> str:
    """A hub id names its weights; a folder may change under its name, so its weights are hashed."""
    weights = sorted(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    if not weights:
        return model
    digest = hashlib.sha256()
    for path in weights:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{Path(model).name}-{digest.hexdigest()[:20]}"


def _unit(vectors_ND: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors_ND, axis=-1, keepdims=True)
    return np.asarray(vectors_ND / np.where(norms > 0, norms, 1), dtype=np.float32)
