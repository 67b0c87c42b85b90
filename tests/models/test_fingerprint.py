from __future__ import annotations

import logging
import os
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from paramrag.models import load_base, wrap_base
from paramrag.models.gguf import folder_of


def test_it_does_not_depend_on_folder_dtype_or_shards(folder, tmp_path, make_model, tokenizer):
    expected = load_base(folder).fingerprint
    assert len(expected) == 16
    assert int(expected, 16) >= 0
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_base(tmp_path / "elsewhere").fingerprint == expected
    assert load_base(folder, dtype="bf16").fingerprint == expected
    model = make_model("llama")
    model.save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    tokenizer.save_pretrained(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert load_base(tmp_path / "shards").fingerprint == expected
    assert wrap_base(model, tokenizer, name="another name").fingerprint == expected


def test_it_does_not_depend_on_the_width_of_storage(tmp_path, make_model, tokenizer):
    model = make_model("llama").to(torch.bfloat16)
    found = set()
    for dtype in (torch.bfloat16, torch.float32):
        model.to(dtype).save_pretrained(tmp_path / str(dtype))
        tokenizer.save_pretrained(tmp_path / str(dtype))
        found.add(load_base(tmp_path / str(dtype)).fingerprint)
    assert len(found) == 1


def test_a_gguf_file_and_its_converted_folder_agree(tmp_path, make_model, write_gguf):
    path = write_gguf(make_model("llama"), tmp_path / "m.gguf", "llama")
    assert load_base(path).fingerprint == load_base(folder_of(path)).fingerprint


def test_pickled_weights_count_as_the_same(folder, tmp_path, make_model):
    expected = load_base(folder).fingerprint
    (folder / "model.safetensors").unlink()
    torch.save(make_model("llama").state_dict(), folder / "pytorch_model.bin")
    assert load_base(folder).fingerprint == expected


def test_a_tied_head_that_is_stored_twice_makes_no_difference(folder, make_model):
    model = make_model("llama", tie_word_embeddings=True)
    model.save_pretrained(folder)
    expected = load_base(folder).fingerprint
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert "lm_head.weight" in torch.load(folder / "pytorch_model.bin")
    assert load_base(folder).fingerprint == expected


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"]
)
def test_one_changed_number_changes_it(name, folder):
    expected = load_base(folder).fingerprint
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.state_dict()[name].view(-1)[3] += 1e-3
    model.save_pretrained(folder)
    assert load_base(folder).fingerprint != expected


@pytest.mark.parametrize(
    "settings",
    [
        {"rms_norm_eps": 1e-3},
        {"num_attention_heads": 2, "head_dim": 8},
        {"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}},
    ],
)
def test_settings_that_change_the_computation_change_it(settings, make_model, tokenizer):
    model = make_model("llama")
    expected = wrap_base(model, tokenizer, name="a").fingerprint
    for name, value in settings.items():
        setattr(model.config, name, value)
    assert wrap_base(model, tokenizer, name="a").fingerprint != expected


def test_the_tokenizer_changes_it(folder, make_model, make_tokenizer):
    found = {load_base(folder).fingerprint}
    for other in (make_tokenizer(text=["other merges entirely"]), make_tokenizer(template="{{ messages }}")):
        other.save_pretrained(folder)
        found.add(load_base(folder).fingerprint)
    lower = AutoTokenizer.from_pretrained(folder)
    from tokenizers.normalizers import Lowercase

    lower.backend_tokenizer.normalizer = Lowercase()
    found.add(wrap_base(make_model("llama"), lower, name="a").fingerprint)
    assert len(found) == 4


def test_it_is_remembered_until_a_file_changes(folder, tmp_path):
    expected = load_base(folder).fingerprint
    (memory,) = (tmp_path / "cache" / "hashes").iterdir()
    memory.write_text(memory.read_text().replace(expected, "0123456789abcdef"))
    assert load_base(folder).fingerprint == "0123456789abcdef"
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert load_base(folder).fingerprint == expected
    memory.write_text("{")
    assert load_base(folder).fingerprint == expected


def test_a_cache_that_cannot_be_written_is_no_obstacle(folder, tmp_path, monkeypatch, caplog):
    expected = load_base(folder).fingerprint
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARAMRAG_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert load_base(folder).fingerprint == expected
    assert "cache cannot be written" in caplog.text
