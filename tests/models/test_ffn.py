from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from paramrag.errors import ModelError
from paramrag.models.ffn import feed_forward
from paramrag.types import ModuleShape

ALIKE = ["llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text"]


@pytest.mark.parametrize("family", ALIKE)
def test_finds_the_three_projections_of_every_layer(family, make_model):
    model = make_model(family)
    ffn, shapes = feed_forward(model, family)
    assert shapes == (
        ModuleShape("gate_proj", 16, 48),
        ModuleShape("up_proj", 16, 48),
        ModuleShape("down_proj", 48, 16),
    )
    assert len(ffn) == 2
    by_name = dict(model.named_modules())
    for index, projections in enumerate(ffn):
        assert list(projections) == ["gate_proj", "up_proj", "down_proj"]
        for name, linear in projections.items():
            assert linear is by_name[f"model.layers.{index}.mlp.{name}"]


def test_finds_the_text_layers_of_a_model_that_also_sees():
    text = {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 300}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
    }
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
    ffn, shapes = feed_forward(AutoModelForCausalLM.from_config(config), "gemma3")
    assert len(ffn) == 2
    assert shapes[0] == ModuleShape("gate_proj", 16, 48)


@pytest.mark.parametrize(
    ("family", "settings", "reason"),
    [
        ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2}, "no list of decoder layers"),
        ("opt", {"ffn_dim": 16, "word_embed_proj_dim": 16}, "no module named mlp"),
        ("gpt_neox", {}, "no linear gate_proj, up_proj, down_proj"),
        ("starcoder2", {}, "no linear gate_proj, up_proj, down_proj"),
        ("phi3", {}, "fuses gate and up"),
        ("qwen2_moe", {"moe_intermediate_size": 8, "shared_expert_intermediate_size": 8, "num_experts": 2}, "experts"),
        ("mixtral", {"num_local_experts": 2}, "experts"),
    ],
)
def test_refuses_a_model_without_them_and_says_why(family, settings, reason, make_model):
    with pytest.raises(ModelError, match=reason) as raised:
        feed_forward(make_model(family, **settings), "some-model")
    assert "some-model" in str(raised.value)
    assert "choose" in str(raised.value)


def test_refuses_an_encoder(make_model):
    with pytest.raises(ModelError, match="bert"):
        feed_forward(make_model("bert"), "some-model")


def test_refuses_layers_of_different_shapes(make_model):
    model = make_model("llama")
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(16, 32)
    with pytest.raises(ModelError, match="up_proj of layer 1 maps 16 to 32, that of layer 0 16 to 48"):
        feed_forward(model, "some-model")


def test_refuses_a_layer_without_a_projection(make_model):
    model = make_model("llama")
    model.model.layers[1].mlp.up_proj = None
    with pytest.raises(ModelError, match="layer 1 has no linear up_proj"):
        feed_forward(model, "some-model")
