"""Tiny real models of every family, with a real tokenizer: two layers, sixteen wide, made from their configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "The tower was designed by a woman from the north.",
    "Answer the question with a short phrase.",
    "user system",
    "a     b     c     d     e     f",
]

_SMALL = {
    "hidden_size": 16,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("model") is None:  # those share the user's, to fetch the model once
        monkeypatch.setenv("PARAMRAG_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., Any]:
    def make(template: str | None = CHATML, text: list[str] = TEXT) -> Any:
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        tokenizer.train_from_iterator(
            text, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=sorted(alphabet))
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<|im_start|>",
            eos_token="<|im_end|>",
            unk_token="<|endoftext|>",
            pad_token="<|im_end|>",
            chat_template=template,
        )

    return make


@pytest.fixture(scope="session")
def tokenizer(make_tokenizer: Callable[..., Any]) -> Any:
    return make_tokenizer()


@pytest.fixture(scope="session")
def make_model(tokenizer: Any) -> Callable[..., Any]:
    def make(family: str, seed: int = 0, **settings: Any) -> Any:
        config = AutoConfig.for_model(
            family,
            **(
                _SMALL
                | {"vocab_size": len(tokenizer), "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 2}
                | settings
            ),
        )
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # biases and norms start as constants; make every tensor tell
            torch.nn.init.normal_(parameter, 0.0, 0.2)
        return model.eval()

    return make


@pytest.fixture
def folder(tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any) -> Path:
    path = tmp_path / "tiny-llama"
    make_model("llama").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def write_gguf(tokenizer: Any) -> Callable[..., Path]:
    """Writes a model as llama.cpp's converter would."""
    import gguf

    def write(model: Any, path: Path, architecture: str, *, quantisation: str = "F32", extra: Any = None) -> Path:
        config = model.config
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_name("tiny")
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_key_length(config.head_dim)
        theta = config.rope_parameters.get("rope_theta", 10000.0)
        writer.add_rope_freq_base(theta)
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list([token for token, _ in vocabulary])
        writer.add_token_types([3 if token.startswith("<|") else 1 for token, _ in vocabulary])
        merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
        writer.add_token_merges([" ".join(merge) for merge in merges])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_pad_token_id(2)
        writer.add_chat_template(CHATML)
        if extra:
            extra(writer)
        arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
        names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
        kind = gguf.GGMLQuantizationType[quantisation]
        for name, tensor in model.state_dict().items():
            if name == "lm_head.weight" and config.tie_word_embeddings:
                continue
            values = tensor.numpy().astype(np.float32)
            if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
                heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
                pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
                values = pairs.swapaxes(1, 2).reshape(values.shape)
            if architecture.startswith("gemma") and name.endswith("norm.weight"):
                values = values + 1
            target = names.get_name(name, (".weight", ".bias"))
            if values.ndim == 2 and quantisation != "F32":
                packed = gguf.quantize(np.ascontiguousarray(values), kind)
                writer.add_tensor(target, packed, raw_dtype=kind)
            else:
                writer.add_tensor(target, np.ascontiguousarray(values))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write
