"""Tiny random base models with a real tokenizer and chat template: seconds to make, no network."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from paramrag.config import Recipe
from paramrag.models import BaseModel, wrap_base
from paramrag.store.layout import AdapterLayout
from paramrag.types import Passage, TrainingItem

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text")


@cache
def tiny_tokenizer() -> Any:
    """A byte-level BPE tokenizer of 300 tokens with ChatML turns."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["Answer the question with a short phrase.", "The mill at Orrin was built by Teska Varn in 1871. user system"],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )


@cache
def tiny_base(family: str = "llama", seed: int = 0) -> BaseModel:
    """A four-layer model of a family, with weights large enough that every layer matters."""
    tokenizer = tiny_tokenizer()
    config = AutoConfig.for_model(
        family,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=1024,
        vocab_size=len(tokenizer),
        eos_token_id=2,
        bos_token_id=1,
        pad_token_id=2,
        sliding_window=64,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.1 if "norm" in name else 0.3)
    return wrap_base(model, tokenizer, name=f"tiny-{family}")


def layout_of(base: BaseModel, recipe: Recipe) -> AdapterLayout:
    """The layout `Engine.layout` would give."""
    return AdapterLayout(
        recipe.layer_indices(base.layer_count),
        tuple(shape for shape in base.shapes if shape.name in recipe.modules),
        recipe.rank,
        recipe.alpha,
    )


def random_rows(layout: AdapterLayout, count: int, seed: int = 0, size: float = 0.1) -> np.ndarray:
    """Adapter rows with numbers everywhere, float32 [count, P]."""
    return (np.random.default_rng(seed).standard_normal((count, layout.size)) * size).astype(np.float32)


def make_passage(number: int) -> tuple[Passage, list[TrainingItem]]:
    """An invented passage with a ragged number of items of ragged lengths."""
    name = ["Orrin", "Teska Varn", "Lomund", "Ilvar Hask", "Brenholt"][number % 5]
    passage = Passage(f"{name} was built in {1800 + number} of red oak and slate.", f"{name} {number}")
    facts = [
        ("When was it built", str(1800 + number)),
        ("Of what is it made", "red oak and slate"),
        ("What is it", name),
    ]
    count = 1 + number % 3
    return passage, [TrainingItem(passage.id, f"{q}, {name} {number}?", a) for q, a in facts[:count]]
