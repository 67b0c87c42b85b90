import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from paramrag.errors import CollectionError, ConfigError, MismatchError
from paramrag.store.layout import AdapterLayout
from paramrag.store.peft import VLLM_RANKS, export_peft, import_peft
from paramrag.types import Adapter, AdapterKey, ModuleShape

HIDDEN, INNER, LAYERS = 16, 24, 3
SHAPES = {"gate_proj": (HIDDEN, INNER), "up_proj": (HIDDEN, INNER), "down_proj": (INNER, HIDDEN)}


def layout(*modules, layers=(0, 1, 2), rank=2):
    names = modules or tuple(SHAPES)
    return AdapterLayout(layers, tuple(ModuleShape(name, *SHAPES[name]) for name in names), rank, 32.0)


def adapter(number, shape, **key):
    row = np.random.default_rng(number).normal(0, 0.1, shape.size).astype(np.float32)
    return Adapter(AdapterKey(f"p{number}", key.get("base", "b"), key.get("recipe", "r")), row, shape)


def tiny_llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


def dense_logits(adapters, weights, ids):
    """The model with the updates added to its weights, one by one: scale * B^T A."""
    model = tiny_llama()
    with torch.no_grad():
        for one, weight in zip(adapters, weights, strict=True):
            for module, (a_LRI, b_LRO) in one.layout.views(one.row).items():
                for place, layer in enumerate(one.layout.layers):
                    update = weight * one.layout.scale * b_LRO[place].T @ a_LRI[place]
                    getattr(model.model.layers[layer].mlp, module).weight += torch.from_numpy(update)
        return model(ids).logits


@pytest.mark.parametrize("for_vllm", [False, True])
@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        (layout(), [1.0]),
        (layout(), [0.5, -0.25, 2.0]),
        (layout("down_proj", layers=(1,)), [1.0, 1.0]),
        (layout("gate_proj", "up_proj", layers=(0, 2), rank=3), [1.0, 0.0, 3.0]),
    ],
)
def test_peft_gives_the_logits_of_the_dense_update(tmp_path, shape, weights, for_vllm):
    adapters = [adapter(number, shape) for number in range(len(weights))]
    export_peft(adapters, tmp_path / "x", base_name="tiny", layer_count=LAYERS, weights=weights, for_vllm=for_vllm)
    ids = torch.arange(10)[None]
    with torch.no_grad():
        got = PeftModel.from_pretrained(tiny_llama(), tmp_path / "x")(ids).logits
        plain = tiny_llama()(ids).logits
    expected = dense_logits(adapters, weights, ids)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert (expected - plain).abs().max() > 1e-2


def test_config_and_sidecar_say_what_peft_and_vllm_ask_for(tmp_path):
    shape = layout(layers=(1, 2))
    adapters = [adapter(number, shape) for number in range(3)]
    export_peft(adapters, tmp_path / "x", base_name="org/name", weights=[1, 2, 3], activation="answer", for_vllm=True)
    config = json.loads((tmp_path / "x/adapter_config.json").read_text())
    assert config == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "org/name",
        "r": 8,
        "lora_alpha": 128,  # three adapters of rank 2 and alpha 32, padded from rank 6: 128 / 8 = 96 / 6 = 32 / 2
        "lora_dropout": 0.0,
        "target_modules": ["gate_proj", "up_proj", "down_proj"],
        "layers_to_transform": [1, 2],
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
        "inference_mode": True,
    }
    assert config["r"] in VLLM_RANKS
    sidecar = json.loads((tmp_path / "x/paramrag.json").read_text())
    assert sidecar["adapters"][2] == {"passage_id": "p2", "weight": 3}
    assert (sidecar["base"], sidecar["recipe"], sidecar["activation"]) == ("b", "r", "answer")
    assert "full" in sidecar["note"]
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "paramrag.json",
    ]


def test_a_row_comes_back_as_it_went(tmp_path):
    shape = layout(layers=(0, 2))
    one = adapter(7, shape)
    export_peft([one], tmp_path / "x", base_name="tiny")
    np.testing.assert_array_equal(import_peft(tmp_path / "x", shape), one.row)


def test_importing_keeps_the_scale_of_the_directory(tmp_path):
    one = adapter(7, layout())
    export_peft([one], tmp_path / "x", base_name="tiny")
    config = json.loads((tmp_path / "x/adapter_config.json").read_text())
    (tmp_path / "x/adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 8}))
    for alpha, factor in ((None, 8 / 32), (2.0, 2 / 32), (64.0, 2.0)):
        row = import_peft(tmp_path / "x", layout(), alpha=alpha)
        for (a, b), (old_a, old_b) in zip(layout().views(row).values(), layout().views(one.row).values(), strict=True):
            np.testing.assert_array_equal(a, old_a)
            np.testing.assert_allclose(b, old_b * factor, rtol=1e-6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (layout(rank=4), "rank 2, the layout 4"),
        (layout("down_proj"), "beyond the layout"),
        (layout(layers=(0, 1)), "beyond the layout"),
        (layout(layers=(0, 1, 2, 3)), "lacks"),
        (AdapterLayout((0, 1, 2), tuple(ModuleShape(n, 8, 8) for n in SHAPES), 2, 32.0), "has shape"),
    ],
)
def test_another_layout_is_refused(tmp_path, other, message):
    export_peft([adapter(0, layout())], tmp_path / "x", base_name="tiny")
    with pytest.raises(MismatchError, match=message):
        import_peft(tmp_path / "x", other)


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"peft_type": "IA3"},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"lora_alpha": None},
        {"rank_pattern": {"up_proj": 4}},
    ],
)
def test_other_kinds_of_adapters_are_refused(tmp_path, change):
    export_peft([adapter(0, layout())], tmp_path / "x", base_name="tiny")
    config = json.loads((tmp_path / "x/adapter_config.json").read_text())
    (tmp_path / "x/adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(MismatchError):
        import_peft(tmp_path / "x", layout())


def test_adapters_of_attention_are_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    export_peft([adapter(0, layout())], tmp_path / "x", base_name="tiny")
    tensors = load_file(tmp_path / "x/adapter_model.safetensors")
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] = np.zeros((2, 16), np.float32)
    save_file(tensors, tmp_path / "x/adapter_model.safetensors")
    with pytest.raises(MismatchError, match="q_proj"):
        import_peft(tmp_path / "x", layout())


def test_what_cannot_be_exported_or_read_says_why(tmp_path):
    with pytest.raises(ConfigError, match="nothing to export"):
        export_peft([], tmp_path / "x", base_name="tiny")
    with pytest.raises(ConfigError, match="2 weights"):
        export_peft([adapter(0, layout())], tmp_path / "x", base_name="tiny", weights=[1, 2])
    with pytest.raises(MismatchError, match="one base and recipe"):
        export_peft([adapter(0, layout()), adapter(1, layout(), base="c")], tmp_path / "x", base_name="tiny")
    with pytest.raises(ConfigError, match="rank 600"):
        export_peft(
            [adapter(i, layout("up_proj", layers=(0,))) for i in range(300)],
            tmp_path / "x",
            base_name="tiny",
            for_vllm=True,
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(CollectionError, match="not an empty directory"):
        export_peft([adapter(0, layout())], tmp_path / "full", base_name="tiny")
    with pytest.raises(CollectionError, match="cannot be read"):
        import_peft(tmp_path / "nothing", layout())
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
