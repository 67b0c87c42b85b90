"""The parametric knowledge score against scipy, against a dense forward pass, and at its limits."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CohereConfig, CohereForCausalLM, LlamaConfig, LlamaForCausalLM

from paramrag.aggregate import concat
from paramrag.analyze.forcing import CHUNK_NUMBERS
from paramrag.analyze.pks import divergences, pks, state_change
from paramrag.config import Recipe
from paramrag.errors import ModelError
from paramrag.infer import Engine, Request, injected, stack
from paramrag.models import BaseModel, wrap_base
from tiny import FAMILIES, layout_of, random_rows, tiny_base, tiny_tokenizer

PROMPT = [1, 40, 41, 42, 17, 90, 12, 60]
RESPONSE = [33, 34, 120, 7, 8]


def _logits(*shape: int, seed: int, size: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape) * size).float()


@pytest.mark.parametrize("size", [0.01, 1.0, 10.0])
def test_jsd_is_scipys(size: float) -> None:
    p, q = _logits(20, 50, seed=1, size=size), _logits(20, 50, seed=2, size=size)
    found, _ = divergences(p, q)
    wanted = jensenshannon(softmax(p.double().numpy(), -1), softmax(q.double().numpy(), -1), axis=-1) ** 2
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6, rtol=1e-4)


def test_jsd_has_its_bounds_and_is_symmetric() -> None:
    p, q = _logits(200, 30, seed=1, size=8), _logits(200, 30, seed=2, size=8)
    one, other = divergences(p, q), divergences(q, p)
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], other[1])
    assert 0 <= float(one[0].min()) <= float(one[0].max()) <= math.log(2) + 1e-7
    apart = torch.full((2, 4), -200.0)
    apart[0, 0] = apart[1, 1] = 200.0
    far = divergences(apart[:1], apart[1:])
    assert float(far[0]) == pytest.approx(math.log(2))
    assert float(far[1]) > 100  # the published variant knows no bound
    assert float(divergences(p, p)[0].max()) < 1e-6


def test_redeep_compat_is_what_the_published_lines_compute() -> None:
    p, q = _logits(10, 40, seed=3, size=3), _logits(10, 40, seed=4, size=3)
    middle = (p.softmax(-1) + q.softmax(-1)) / 2
    kl = [torch.nn.functional.kl_div(x.log_softmax(-1), middle, reduction="none").sum(-1) for x in (p, q)]
    torch.testing.assert_close(divergences(p, q)[1], (kl[0] + kl[1]) / 2, atol=1e-5, rtol=1e-4)


def _dense(base: BaseModel, tokens: Sequence[int], injection: Any) -> tuple[list[Any], list[Any], torch.Tensor]:
    """Streams before and after each block, from the layers' outputs less what the blocks say they add; and logits."""
    added: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []
    handles = []
    for layer in base.decoder.layers:
        block = getattr(layer, "post_feedforward_layernorm", layer.mlp)
        handles.append(block.register_forward_hook(lambda _, __, output: added.append(output[0])))
        handles.append(layer.register_forward_hook(lambda _, __, output: outputs.append(output[0])))
    with torch.no_grad(), injected(base, stack([injection], base)):
        logits = base.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    return [out - add for out, add in zip(outputs, added, strict=True)], outputs, logits


@pytest.mark.parametrize("with_injection", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_a_dense_forward_pass(family: str, with_injection: bool) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe(layers="1-3"))
    injection = concat(layout, random_rows(layout, 1, size=0.2), [1.0], "full") if with_injection else None
    found = pks(base, PROMPT, RESPONSE, injection)
    mids, outs, logits = _dense(base, [*PROMPT, *RESPONSE], injection)
    at = slice(len(PROMPT) - 1, len(PROMPT) + len(RESPONSE) - 1)
    for layer, (mid, out) in enumerate(zip(mids, outs, strict=True)):
        before, after = (base.head(states[at]).softmax(-1).double().numpy() for states in (mid, out))
        np.testing.assert_allclose(found.jsd[layer], jensenshannon(before, after, axis=-1) ** 2, atol=3e-5)
    # the last layer's lens is the model's own prediction: the final norm was applied, and once
    torch.testing.assert_close(base.head(outs[-1]), logits, atol=1e-4, rtol=1e-4)
    assert found.jsd.shape == (4, len(RESPONSE))
    assert found.jsd.min() > 1e-6


def test_norming_the_last_layer_twice_would_be_seen() -> None:
    base = tiny_base()
    found = pks(base, PROMPT, RESPONSE).jsd[-1]
    mids, outs, _ = _dense(base, [*PROMPT, *RESPONSE], None)
    at = slice(len(PROMPT) - 1, -1)
    once = divergences(base.head(mids[-1][at]), base.head(outs[-1][at]))[0].numpy()
    twice = divergences(base.head(mids[-1][at]), base.head(base.decoder.norm(outs[-1][at])))[0].numpy()
    np.testing.assert_allclose(found, once, atol=1e-5)
    assert abs(twice - once).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_that_adds_nothing_scores_zero(family: str) -> None:
    base = tiny_base(family)
    weight = base.ffn[2]["down_proj"].weight
    saved = weight.data.clone()
    try:
        weight.data = torch.zeros_like(saved)
        found = pks(base, PROMPT, RESPONSE)
    finally:
        weight.data = saved
    assert found.jsd[2].max() < 1e-6
    assert found.jsd[[0, 1, 3]].min() > 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_an_injection_changes_no_earlier_layer(family: str) -> None:
    base = tiny_base(family)
    layout = layout_of(base, Recipe(layers="2"))
    injection = concat(layout, random_rows(layout, 1, size=0.3), [1.0], "answer")
    changed = state_change(base, PROMPT, RESPONSE, injection).jsd
    assert changed[:2].max() < 1e-6
    assert changed[2:].min() > 1e-6
    without, with_it = pks(base, PROMPT, RESPONSE).jsd, pks(base, PROMPT, RESPONSE, injection).jsd
    np.testing.assert_allclose(without[:2], with_it[:2], atol=1e-6)
    assert abs(without[2:] - with_it[2:]).max() > 1e-4


def test_generated_and_forced_positions_agree() -> None:
    base = tiny_base()
    layout = layout_of(base, Recipe())
    injection = concat(layout, random_rows(layout, 1), [1.0], "answer")
    response = Engine(base).generate([Request(PROMPT, injection, max_new_tokens=6)])[0].token_ids
    whole = pks(base, PROMPT, response, injection)
    # token by token: what the engine saw when it chose each of them
    for n in range(len(response)):
        np.testing.assert_allclose(
            whole.jsd[:, n], pks(base, PROMPT, response[: n + 1], injection).jsd[:, n], atol=1e-5
        )


def test_a_model_whose_blocks_act_at_once_is_refused() -> None:
    config = CohereConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        pad_token_id=2,
    )
    base = wrap_base(CohereForCausalLM(config), tiny_tokenizer(), name="parallel")
    with pytest.raises(ModelError, match="no norm between attention and the feed-forward block"):
        pks(base, PROMPT, RESPONSE)


class _Peak(TorchDispatchMode):
    """Adds up the bytes of all tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, (tuple, list)) else [output]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.alive:
                    self.alive[key] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, key, None)
        self.peak = max(self.peak, sum(self.alive.values()))
        return output


@contextmanager
def _measured() -> Iterator[_Peak]:
    with _Peak() as peak:
        yield peak


def test_memory_is_bounded_on_two_thousand_tokens() -> None:
    vocabulary, tokens = 20_000, 2_000
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
    )
    torch.manual_seed(0)
    base = wrap_base(LlamaForCausalLM(config), tiny_tokenizer(), name="wide")
    response = np.random.default_rng(0).integers(0, vocabulary, tokens).tolist()
    with _measured() as peak:
        found = pks(base, PROMPT, response)
    assert np.isfinite(found.jsd).all()
    chunk = CHUNK_NUMBERS * 4
    assert peak.peak > 3 * chunk  # the measure sees the logits
    assert peak.peak < 12 * chunk < 2 * tokens * vocabulary * 4 * 2
