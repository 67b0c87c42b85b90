"""The converter against the model the file was written from, and against transformers' own reader."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import paramrag.models.gguf as gguf_room
from paramrag.errors import ModelError
from paramrag.models import load_base
from paramrag.models.gguf import convert, folder_of, narrowest

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2", "gemma3_text": "gemma3"}


def converted(path, folder):
    folder.mkdir()
    convert(path, folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_family_keeps_its_weights(family, tmp_path, make_model, write_gguf):
    model = make_model(family)
    path = write_gguf(model, tmp_path / "m.gguf", ARCHITECTURES[family])
    ours = converted(path, tmp_path / "out").state_dict()
    assert ours.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=3e-7, msg=name)  # Gemma: 1 + weight is rounded


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_quantised_weights_are_those_that_transformers_reads(family, tmp_path, make_model, write_gguf):
    model = make_model(family, hidden_size=32, intermediate_size=64, head_dim=8)
    path = write_gguf(model, tmp_path / "m.gguf", ARCHITECTURES[family], quantisation="Q8_0")
    ours = converted(path, tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_the_untied_head_is_kept(tmp_path, make_model, write_gguf):
    model = make_model("llama", tie_word_embeddings=False)
    ours = converted(write_gguf(model, tmp_path / "m.gguf", "llama"), tmp_path / "out")
    assert not ours.config.tie_word_embeddings
    assert torch.equal(ours.lm_head.weight, model.lm_head.weight)


def test_weights_over_several_shards_are_complete(tmp_path, make_model, write_gguf, monkeypatch):
    monkeypatch.setattr(gguf_room, "_SHARD_BYTES", 4000)
    model = make_model("llama")
    ours = converted(write_gguf(model, tmp_path / "m.gguf", "llama"), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 2
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def test_the_tokenizer_keeps_special_tokens_template_and_lone_digits(tmp_path, make_model, write_gguf, tokenizer):
    path = write_gguf(make_model("llama"), tmp_path / "m.gguf", "llama")
    converted(path, tmp_path / "out")
    ours = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ours.chat_template == tokenizer.chat_template
    assert ours.eos_token == "<|im_end|>"
    assert ours.get_vocab() == tokenizer.get_vocab()
    text = "<|im_start|>user\nThe tower of the north.<|im_end|>"
    assert ours(text).input_ids == tokenizer(text).input_ids
    assert ours.decode(ours(text).input_ids) == text
    assert ours.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]  # the spaces are one token, as before a word they are not


def llama3_divisors(factor, theta=10000.0, pairs=2, low=1.0, high=4.0, original=8192):
    """As convert_hf_to_gguf.py of llama.cpp writes them."""
    divisors = []
    for index in range(pairs):
        wavelength = 2 * np.pi * theta ** (index / pairs)
        if wavelength < original / high:
            divisors.append(1.0)
        elif wavelength > original / low:
            divisors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, dtype=np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama_3_position_scaling_is_found_again(factor, tmp_path, make_model, write_gguf):
    theta = 500000.0
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    model = make_model("llama", head_dim=32, max_position_embeddings=16384, rope_parameters=rope)
    divisors = llama3_divisors(factor, theta, pairs=16)
    assert len(set(divisors)) > 2
    path = write_gguf(
        model, tmp_path / "m.gguf", "llama", extra=lambda writer: writer.add_tensor("rope_freqs.weight", divisors)
    )
    ours = converted(path, tmp_path / "out")
    torch.testing.assert_close(ours.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)


def test_unknown_position_scaling_is_refused(tmp_path, make_model, write_gguf):
    model = make_model("llama")
    wrong = np.array([1.0, 3.0], dtype=np.float32)
    path = write_gguf(model, tmp_path / "a.gguf", "llama", extra=lambda w: w.add_tensor("rope_freqs.weight", wrong))
    with pytest.raises(ModelError, match="another way than Llama 3"):
        converted(path, tmp_path / "out")
    path = write_gguf(
        make_model("qwen2"),
        tmp_path / "b.gguf",
        "qwen2",
        extra=lambda w: w.add_string("qwen2.rope.scaling.type", "yarn"),
    )
    with pytest.raises(ModelError, match="scales its positions \\(yarn\\)"):
        converted(path, tmp_path / "out2")


def test_other_files_are_refused_with_the_reason(tmp_path, make_model, write_gguf):
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    with pytest.raises(ModelError, match="starts with b'not '"):
        folder_of(text)
    whole = write_gguf(make_model("llama"), tmp_path / "whole.gguf", "llama")
    cut = tmp_path / "cut.gguf"
    for kept in (100, 3000, whole.stat().st_size - 2000):
        cut.write_bytes(whole.read_bytes()[:kept])
        with pytest.raises(ModelError, match="cut"):
            folder_of(cut)
    with pytest.raises(ModelError, match="architecture 'gemma'"):
        load_base(write_gguf(make_model("gemma"), tmp_path / "s.gguf", "gemma"))
    assert not [entry for entry in (tmp_path / "cache" / "models").iterdir() if entry.is_dir()]


def test_a_missing_tensor_is_named(tmp_path, make_model, write_gguf):
    model = make_model("llama")
    model.config.num_hidden_layers = 3
    with pytest.raises(ModelError, match=r"missing \['blk\.2\."):
        converted(write_gguf(model, tmp_path / "m.gguf", "llama"), tmp_path / "out")


def test_the_cache_follows_the_content_not_the_name(tmp_path, make_model, write_gguf):
    first = write_gguf(make_model("llama"), tmp_path / "a.gguf", "llama")
    folder = folder_of(first)
    second = tmp_path / "b.gguf"
    second.write_bytes(first.read_bytes())
    assert folder_of(second) == folder
    write_gguf(make_model("llama", seed=1), second, "llama")
    assert folder_of(second) != folder


def test_two_processes_convert_once(tmp_path, make_model, write_gguf):
    path = write_gguf(make_model("llama"), tmp_path / "m.gguf", "llama")
    script = (
        "import sys; from pathlib import Path; from paramrag.models.gguf import folder_of\n"
        "said = []\n"
        "print(folder_of(Path(sys.argv[1]), lambda *a: said.append(a)), 'convert' in {stage for stage, *_ in said})"
    )
    command = [sys.executable, "-c", script, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0].split() for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert said[0][0] == said[1][0]
    assert [line[1] for line in said] == ["False", "True"]


def test_a_killed_conversion_leaves_nothing_in_the_way(tmp_path, make_model, write_gguf):
    path = write_gguf(make_model("llama"), tmp_path / "m.gguf", "llama")
    script = (
        "import sys, time; from pathlib import Path; from paramrag.models.gguf import folder_of\n"
        "def stall(stage, done, total):\n"
        "    if stage == 'convert' and done: print('half', flush=True); time.sleep(60)\n"
        "folder_of(Path(sys.argv[1]), stall)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    models = tmp_path / "cache" / "models"
    assert [entry.suffix for entry in models.iterdir() if entry.is_dir()] == [".part"]
    started = time.monotonic()
    folder = folder_of(path)
    assert time.monotonic() - started < 30
    assert [entry for entry in models.iterdir() if entry.is_dir()] == [folder]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8))
def test_narrow_storage_loses_nothing(values):
    tensor = torch.tensor(values, dtype=torch.float32)
    assert torch.equal(narrowest(tensor).to(torch.float32), tensor)


@given(st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=8))
def test_sixteen_bit_values_are_stored_in_sixteen_bits(values):
    assert narrowest(torch.tensor(values, dtype=torch.float32)).element_size() == 2
