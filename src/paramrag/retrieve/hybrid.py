"""Several retrievers as one, by reciprocal rank fusion: only ranks count, so scores need not be comparable."""

from __future__ import annotations

from ..errors import ConfigError
from ..types import Hit
from .protocol import Retriever, check_k


def hybrid(*retrievers: Retriever, constant: float = 60.0, depth: int = 50) -> Retriever:
    """Returns the fusion of retrievers: score = sum over retrievers of 1 / (constant + rank), ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet and individual rank learning methods,
    SIGIR 2009, where 60 is the constant.

    Args:
        retrievers: two or more.
        constant: the larger, the less the first ranks stand out.
        depth: hits taken from each (or k, where that is more).

    Raises:
        ConfigError: fewer than two retrievers, or a constant or depth out of range.
    """
    if len(retrievers) < 2:
        raise ConfigError(f"hybrid got {len(retrievers)} retrievers; expected two or more, such as bm25 and dense")
    if constant < 0 or depth < 1:
        raise ConfigError(f"hybrid got constant {constant} and depth {depth}; expected at least 0 and 1")

    def fused(query: str, k: int) -> list[Hit]:
        check_k(k)
        if k == 0:
            return []
        hits: dict[str, Hit] = {}
        scores: dict[str, float] = {}
        for retriever in retrievers:
            for rank, hit in enumerate(retriever(query, max(k, depth)), start=1):
                hits.setdefault(hit.passage.id, hit)
                scores[hit.passage.id] = scores.get(hit.passage.id, 0.0) + 1.0 / (constant + rank)
        best = sorted(scores, key=lambda passage_id: (-scores[passage_id], passage_id))[:k]
        return [Hit(hits[i].passage, hits[i].document_id, scores[i]) for i in best]

    return fused
