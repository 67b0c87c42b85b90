"""What every test may use: a tiny random model with a real tokenizer, made once per session. No network, no mocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENIZER_TEXT = [
    "Answer the question with a short phrase. Question: Who designed the tower? system user assistant",
    "The Zorbik Tower stands on the northern shore. It was designed by Ottilie Varn and opened in 1912.",
    "Which city is the capital of the republic? What is the name of the river that runs through it?",
]
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="session", autouse=True)
def _short_primer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A tiny model's task adapter is trained on two passages, and is not put into the user's cache."""
    from paramrag.parameterize import model_adapter, task
    from paramrag.primer import primer

    folder = tmp_path_factory.mktemp("model-adapters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "primer", lambda: primer()[:2])
        patch.setattr(model_adapter, "cache_folder", lambda: folder)
        yield


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: Llama with 2 layers, 32 wide, random weights; byte-level BPE with a ChatML template."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TOKENIZER_TEXT,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():  # norms start as ones; make every tensor tell
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    folder = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tiny_model_folder: Path) -> Any:
    """The tiny model as a loaded `BaseModel`; its weights must not be changed."""
    from paramrag.models import load_base

    return load_base(tiny_model_folder)
