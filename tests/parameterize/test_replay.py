"""Replaying the upper layers gives the model's own losses; candidates stand for the whole vocabulary."""

from __future__ import annotations

import pytest
import torch

from paramrag.aggregate import concat
from paramrag.config import Recipe
from paramrag.infer import injected, stack
from paramrag.models import BaseModel, load_base
from paramrag.parameterize import replay, train
from paramrag.parameterize.contexts import Contexts
from paramrag.parameterize.replay import Replay
from paramrag.parameterize.sequences import TrainingSequence, sequences
from paramrag.types import Adapter
from tiny import FAMILIES, layout_of, make_passage, random_rows, tiny_base


def contexts_of(base: BaseModel, batch: list[TrainingSequence]) -> Contexts:
    return Contexts(base, (sequence.context for sequence in batch), 256)


@pytest.mark.parametrize("family", FAMILIES)
def test_joined_contexts_are_the_models_own_keys_and_values(family: str) -> None:
    base = tiny_base(family)
    contexts = [tuple(range(3, 3 + length)) for length in (5, 1, 9, 0, 5, 30)]
    read = Contexts(base, contexts, 16)
    for some in ([0, 2, 3], [5, 1], [3]):
        cache, mask = read.joined([contexts[at] for at in some])
        assert mask.sum(1).tolist() == [len(contexts[at]) for at in some]
        for row, at in enumerate(some):
            if not contexts[at]:
                continue
            with torch.no_grad():
                alone = base.decoder(input_ids=torch.tensor([contexts[at]]), use_cache=True).past_key_values
            own = mask[row].bool()
            for joined, single in zip(cache.layers, alone.layers, strict=True):
                torch.testing.assert_close(joined.keys[row][:, own], single.keys[0], atol=1e-5, rtol=1e-4)
                torch.testing.assert_close(joined.values[row][:, own], single.values[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_rows_and_some_rows_give_the_same_losses(family: str) -> None:
    base = tiny_base(family)
    recipe = Recipe(layers="2-3")
    layout = layout_of(base, recipe)
    batch = [entry for number in range(3) for entry in sequences(base, recipe, *make_passage(number))]
    recorded = Replay(base, batch, layout.layers, contexts_of(base, batch))
    injection = concat(layout, random_rows(layout, 1), [1.0], "answer")
    with torch.no_grad(), injected(base, stack([injection], base)):
        losses, rows = recorded.losses(torch.arange(len(batch)))[:2]
        some, some_rows = recorded.losses(torch.tensor([4, 1]))[:2]
    assert len(losses) == sum(sequence.label_count for sequence in batch)
    torch.testing.assert_close(some[some_rows == 0], losses[rows == 4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(some[some_rows == 1], losses[rows == 1], atol=1e-5, rtol=1e-4)


@pytest.mark.model
def test_candidates_give_the_loss_of_the_whole_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_base("smollm2-135m-instruct")
    recipe = Recipe(layers="last-quarter", epochs=5, learning_rate=4e-3)
    layout = layout_of(base, recipe)
    passage, items = make_passage(2)
    (adapter,) = train(base, recipe, layout, [(passage, items)])
    assert isinstance(adapter, Adapter)
    batch = sequences(base, recipe, passage, items)
    few = Replay(base, batch, layout.layers, contexts_of(base, batch))
    monkeypatch.setattr(replay, "CANDIDATES", 10**6)
    whole = Replay(base, batch, layout.layers, contexts_of(base, batch))
    rows = torch.arange(len(batch))
    for weight in (0.0, 1.0):
        injection = concat(layout, adapter.row[None], [weight], "answer")
        with torch.no_grad(), injected(base, stack([injection], base)):
            estimated, exact = few.losses(rows).nll, whole.losses(rows).nll
        if weight == 0:  # without an adapter the rest of the vocabulary is as recorded
            torch.testing.assert_close(estimated, exact, atol=1e-4, rtol=1e-4)
        else:
            assert (estimated - exact).abs().mean() < 0.03
            assert (estimated - exact).abs().max() < 0.3
