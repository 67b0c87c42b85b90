"""Packed weights give the same answers, and leave the model as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from paramrag.models.packed import PackedLinear, packed
from tiny import FAMILIES, tiny_base


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [1, 2, 40])
def test_logits_are_those_of_the_model(family: str, rows: int) -> None:
    base = tiny_base(family)
    twin = packed(base)
    assert any(isinstance(module, PackedLinear) for module in twin.model.modules())
    ids = torch.randint(3, 200, (rows, 9), generator=torch.Generator().manual_seed(rows))
    with torch.inference_mode():
        torch.testing.assert_close(
            twin.model(input_ids=ids).logits, base.model(input_ids=ids).logits, atol=1e-4, rtol=1e-4
        )


def test_the_model_itself_keeps_its_layers_and_gradients() -> None:
    base = tiny_base()
    packed(base)
    assert not any(isinstance(module, PackedLinear) for module in base.model.modules())
    states = torch.randn(1, 3, 16, requires_grad=True)
    base.model(inputs_embeds=states).logits.sum().backward()
    assert states.grad is not None


def test_a_model_in_half_precision_is_not_packed() -> None:
    base = tiny_base()
    half = packed(replace(base, dtype=torch.bfloat16))
    assert not any(isinstance(module, PackedLinear) for module in half.model.modules())
