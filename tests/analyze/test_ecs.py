"""The external context score against a loop over a dense forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.dense import dense_updates, on_from
from paramrag.aggregate import concat
from paramrag.analyze.attending import attention_watched
from paramrag.analyze.ecs import external_context
from paramrag.config import Recipe
from tiny import FAMILIES, layout_of, random_rows, tiny_base

PROMPT = [1, *range(40, 74), 17]
RESPONSE = [33, 34, 120, 7]


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_definition_position_by_position(family: str) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe())
    row = random_rows(layout, 1)
    found = external_context(base, PROMPT, RESPONSE, concat(layout, row, [1.0], "answer"))
    before = base.model.config._attn_implementation
    base.model.set_attn_implementation("eager")
    with torch.no_grad(), on_from(base, dense_updates(layout, row[0]), len(PROMPT) - 1):
        output = base.decoder(input_ids=torch.tensor([[*PROMPT, *RESPONSE]]), use_cache=False, output_attentions=True)
    base.model.set_attn_implementation(before)
    states = output.last_hidden_state[0].double()
    assert found.shape == (4, 4, len(RESPONSE))
    for layer, weights in enumerate(output.attentions):
        for head in range(4):
            for n in range(len(RESPONSE)):
                at = len(PROMPT) - 1 + n
                top = weights[0, head, at, : len(PROMPT)].topk(3).indices
                wanted = torch.nn.functional.cosine_similarity(states[top].mean(0), states[at], dim=0)
                assert found[layer, head, n] == pytest.approx(float(wanted), abs=1e-4)
    assert -1 <= found.min() <= found.max() <= 1 + 1e-6


def test_the_implementation_of_attention_is_put_back_also_after_an_exception() -> None:
    base = tiny_base()
    before = base.model.config._attn_implementation
    hooked = [len(layer.self_attn._forward_hooks) for layer in base.decoder.layers]
    seen: list[str] = []

    def visit(layer: int, weights: torch.Tensor) -> None:
        seen.append(base.model.config._attn_implementation)
        raise KeyError

    with pytest.raises(KeyError), torch.no_grad(), attention_watched(base, visit):
        base.model(input_ids=torch.tensor([PROMPT]))
    assert seen == ["eager"]
    assert base.model.config._attn_implementation == before
    assert [len(layer.self_attn._forward_hooks) for layer in base.decoder.layers] == hooked


def test_weights_sum_to_one() -> None:
    base = tiny_base()
    sums: list[np.ndarray] = []
    with torch.no_grad(), attention_watched(base, lambda _, weights: sums.append(weights.sum(-1).numpy())):
        base.model(input_ids=torch.tensor([PROMPT]))
    assert len(sums) == 4
    np.testing.assert_allclose(np.stack(sums), 1, atol=1e-5)
