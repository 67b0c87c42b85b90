"""Hypernetworks: what they give, what they learn, and that a killed training goes on as if it had not been."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from paramrag.config import Hypernet, Recipe, load_recipe
from paramrag.errors import ConfigError, MismatchError
from paramrag.infer import Engine
from paramrag.parameterize import DynamicParameterizer, HyperTraining
from paramrag.parameterize.hypernet import Readings, load_hypernet, read, read_curves, solving, training
from paramrag.parameterize.hypernet.checkpoint import fresh_network, save_hypernet, ship
from paramrag.parameterize.hypernet.direct import DirectBatch
from paramrag.parameterize.hypernet.exact import ExactBatch
from paramrag.parameterize.hypernet.examples import chosen_items, examples, load_examples, save_examples
from paramrag.parameterize.hypernet.factors import Factors
from paramrag.parameterize.hypernet.heldout import HeldOut, Measured
from paramrag.parameterize.hypernet.tokens import TokenHypernet
from paramrag.parameterize.invented import invented
from paramrag.parameterize.trainer import Failed
from paramrag.store import Collection
from paramrag.store.peft import export_peft
from paramrag.types import Adapter
from tiny import make_passage, tiny_base

SMALL = Hypernet(width=16, blocks=1, heads=2, basis=8, keys=16, passages=6, items=2, batch_passages=3, exact_epochs=2)
TINY = Recipe(
    name="tiny",
    rank=2,
    alpha=4,
    layers="last-half",
    modules=("down_proj",),
    learning_rate=0.01,
    hypernet=SMALL,
)
PAPER = TINY.model_copy(
    update={
        "modules": ("gate_proj", "up_proj", "down_proj"),
        "hypernet": Hypernet(encoder="last-token", depths=(1.0,), width=4, copying=False),
    }
)


def with_settings(recipe: Recipe, **settings: object) -> Recipe:
    assert recipe.hypernet
    return recipe.model_copy(update={"hypernet": recipe.hypernet.model_copy(update=settings)})


def perturbed(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """A hypernetwork as if trained: no part is zero any more."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("recipe", [TINY, PAPER], ids=["tokens", "last-token"])
def test_rows_fit_the_layout_and_are_told_apart(family: str, recipe: Recipe) -> None:
    engine = Engine(tiny_base(family))
    assert recipe.hypernet
    network = perturbed(fresh_network(engine, recipe))
    readings = read(engine.base, [make_passage(0)[0], make_passage(1)[0]], recipe.hypernet.depths)
    rows = network(Readings.of(engine.base, readings))
    layout = engine.layout(recipe)
    assert rows.shape == (2, layout.size)
    for name, (a, b) in layout.views(rows).items():
        assert (a[0] != a[1]).any(), name
        assert (b[0] != b[1]).any(), name


def test_a_passage_is_read_alike_alone_and_beside_longer_ones() -> None:
    engine = Engine(tiny_base())
    network = perturbed(fresh_network(engine, TINY))
    passages = [make_passage(0)[0], replace(make_passage(1)[0], text="A much longer text. " * 8)]
    together = network(Readings.of(engine.base, read(engine.base, passages, SMALL.depths)))
    alone = network(Readings.of(engine.base, read(engine.base, passages[:1], SMALL.depths)))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_states_are_those_the_model_computes() -> None:
    base = tiny_base()
    passage = make_passage(0)[0]
    found = read(base, [passage], (0.0, 0.5, 1.0))[0]
    states = base.model(input_ids=found.ids[None], output_hidden_states=True).hidden_states
    for at, layer in enumerate((0, 2)):  # transformers' last entry is normed, ours is not
        torch.testing.assert_close(found.states[:, at].float(), states[layer][0], atol=2e-3, rtol=2e-3)
    normed = base.decoder.norm(found.states[:, 2].float())
    torch.testing.assert_close(normed, states[-1][0], atol=2e-2, rtol=2e-2)


def test_rows_are_the_factors_where_the_rank_is_enough() -> None:
    """Cutting loses nothing then, and what it keeps is what is largest."""
    engine = Engine(tiny_base())
    wide = TINY.model_copy(update={"rank": SMALL.keys, "layers": "last"})
    readings = Readings.of(engine.base, read(engine.base, [make_passage(0)[0], make_passage(1)[0]], SMALL.depths))
    updates = []
    for recipe in (wide, wide.model_copy(update={"rank": 2})):
        network = perturbed(fresh_network(engine, recipe))
        assert isinstance(network, TokenHypernet)
        found = network.factors(readings)
        whole = torch.einsum("nlcd,ldi,nlco->nloi", found.a, network.whitener, found.b)
        a, b = engine.layout(recipe).views(network(readings))["down_proj"]
        updates.append((whole, torch.einsum("nlri,nlro->nloi", a, b)))
    (whole, kept), (_, cut) = updates
    torch.testing.assert_close(kept, whole, atol=1e-4, rtol=1e-3)
    best = torch.linalg.svd(whole[:, 0] @ torch.linalg.pinv(network.whitener[0])).S
    lost = ((whole - cut)[:, 0] @ torch.linalg.pinv(network.whitener[0])).norm(dim=(1, 2))
    torch.testing.assert_close(lost, best[:, 2:].norm(dim=1), atol=1e-3, rtol=1e-3)


def test_the_encoder_of_tokens_adapts_down_proj_alone() -> None:
    engine = Engine(tiny_base())
    with pytest.raises(ConfigError, match=r"adapts gate_proj, down_proj; set modules: \[down_proj\]"):
        fresh_network(engine, TINY.model_copy(update={"modules": ("gate_proj", "down_proj")}))


def batch_of(engine: Engine, recipe: Recipe, count: int = 4) -> list:  # type: ignore[type-arg]
    pairs = [make_passage(number) for number in range(count)]
    return examples(engine.base, recipe, engine.layout(recipe), pairs, None)


def test_in_the_last_layer_the_direct_loss_is_the_exact_one() -> None:
    engine = Engine(tiny_base())
    recipe = with_settings(TINY.model_copy(update={"layers": "last", "modules": ("down_proj",)}), items=5)
    layout = engine.layout(recipe)
    batch = batch_of(engine, recipe)
    rows = torch.from_numpy((np.random.default_rng(0).standard_normal((4, layout.size)) * 0.2).astype(np.float32))
    direct = DirectBatch(engine.base, layout, batch)
    exact = ExactBatch(engine.base, recipe, layout, batch, None)
    assert direct.items == exact.items
    for shift, beside in ((0, 0), (1, 0), (0, 2)):
        ours = direct.losses(Factors.of(layout, rows), shift, beside)[0]
        found = torch.cat([one.losses(rows, shift, beside)[0] for one in exact.pieces()])  # by length of the tail
        torch.testing.assert_close(ours.sort().values, found.sort().values, atol=2e-2, rtol=1e-2)


def test_examples_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    made = batch_of(engine, TINY)
    save_examples(tmp_path / "a.safetensors", made)
    for one, other in zip(made, load_examples(tmp_path / "a.safetensors"), strict=True):
        assert (one.passage, one.items) == (other.passage, other.items)
        assert torch.equal(one.reading.states, other.reading.states)
        assert torch.equal(one.reading.ids, other.reading.ids)
        assert torch.equal(one.traces.inner, other.traces.inner)
        assert torch.equal(one.traces.owners, other.traces.owners)


def trained(engine: Engine, recipe: Recipe, out: Path, **given: object):  # type: ignore[no-untyped-def]
    return HyperTraining(engine, recipe, out, **given).run()  # type: ignore[arg-type]


LEARNING = with_settings(TINY, direct_epochs=20, exact_epochs=40, learning_rate=0.02, patience=100)


def test_training_lowers_the_loss_and_own_adapters_beat_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECK_STEPS", {"direct": 10, "exact": 10})
    engine = Engine(tiny_base())
    pairs = [make_passage(number) for number in range(5)]
    recipe = with_settings(LEARNING, passages=4)
    report = trained(engine, recipe, tmp_path / "h", given=pairs)
    curve = report.curves
    for phase in ("direct", "exact"):
        losses = [entry["loss"] for entry in curve if entry["step"] and entry["phase"] == phase]
        assert losses[-1] < 0.9 * losses[0], phase
    assert curve[-1]["phase"] == "exact"
    assert {"held_loss", "swapped_loss", "mean_cosine"} <= curve[-1].keys()
    assert list(read_curves(tmp_path / "h")) == list(curve)
    # on what it was trained on, the margin between another's adapter and the own one grows
    parameterizer = DynamicParameterizer(engine, tmp_path / "h")
    train = [
        example for shard in sorted((tmp_path / "h" / "examples").glob("train*")) for example in load_examples(shard)
    ]
    before = torch.from_numpy(np.concatenate([parameterizer.predict([one.passage]) for one in train]))
    exact = ExactBatch(engine.base, recipe, engine.layout(recipe), train, None)
    own, other = (sum(piece.losses(before, shift)[0].sum() for piece in exact.pieces()) for shift in (0, 1))
    assert other > own


def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECK_STEPS", {"direct": 2, "exact": 2})
    engine = Engine(tiny_base())
    recipe = with_settings(TINY, direct_epochs=3, exact_epochs=2, patience=100)
    whole = trained(engine, recipe, tmp_path / "whole")

    steps = 0
    original = training.HyperTraining._step

    def killing(self: object, members: object, total: int) -> float:
        nonlocal steps
        steps += 1
        if steps in (4, 9):
            raise KeyboardInterrupt
        return original(self, members, total)  # type: ignore[arg-type]

    monkeypatch.setattr(training.HyperTraining, "_step", killing)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(engine, recipe, tmp_path / "killed")
    again = trained(engine, recipe, tmp_path / "killed")
    np.testing.assert_allclose(again.measured.rows, whole.measured.rows, atol=1e-6)
    assert [entry["held_loss"] for entry in again.curves] == pytest.approx([e["held_loss"] for e in whole.curves])


def test_the_checkpoint_kept_is_that_under_which_most_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_base())
    recipe = with_settings(TINY, direct_epochs=2, exact_epochs=0)  # four steps
    monkeypatch.setattr(training, "CHECK_STEPS", {"direct": 1, "exact": 1})
    told = iter(
        [(0.0, 5.0), (0.5, 3.0), (0.5, 4.0), (0.6, 9.0), (0.2, 1.0), (0.6, 9.0)]
    )  # said, loss; the last: reported

    def measure(self: HeldOut, network: torch.nn.Module) -> Measured:
        said, loss = next(told)
        return Measured(loss, loss, np.array([said]), np.array([0.0]), np.zeros((1, 1)), 0.5, 2.0, 0.5)

    monkeypatch.setattr(HeldOut, "measure", measure)
    kept: list[float] = []
    save = training.save_hypernet

    def noting(folder: Path, engine: Engine, recipe: Recipe, network: torch.nn.Module) -> None:
        kept.append(float(next(iter(network.parameters())).detach().sum()))
        save(folder, engine, recipe, network)

    monkeypatch.setattr(training, "save_hypernet", noting)
    trained(engine, recipe, tmp_path)
    assert len(kept) == 3  # of the start, and where more was said; not where the loss alone was less
    assert len(set(kept)) == 3


def test_a_shipped_checkpoint_is_the_trained_one_in_half_precision(checkpoint: Path, tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    whole = load_hypernet(checkpoint, engine)
    shipped = load_hypernet(ship(checkpoint, tmp_path / "into"), engine)
    assert shipped.layout == whole.layout
    assert shipped.recipe.id != whole.recipe.id  # other weights, other adapters
    for one, other in zip(shipped.network.parameters(), whole.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_a_finished_training_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_base())
    recipe = with_settings(TINY, direct_epochs=1, exact_epochs=1)
    first = trained(engine, recipe, tmp_path)
    monkeypatch.setattr(HyperTraining, "_step", lambda *_: pytest.fail("trained again"))
    second = trained(engine, recipe, tmp_path)
    assert second.measured.loss == pytest.approx(first.measured.loss)
    assert second.curves == first.curves


def test_a_folder_with_another_training_is_refused(tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    recipe = with_settings(TINY, direct_epochs=0, exact_epochs=1)
    trained(engine, recipe, tmp_path)
    with pytest.raises(ConfigError, match=r"holds another training \(its recipe differ"):
        HyperTraining(engine, with_settings(recipe, width=8), tmp_path)


def test_the_published_one_is_trained_to_imitate_trained_adapters(tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    recipe = load_recipe("dyprag-paper")
    recipe = with_settings(recipe, passages=3, width=4)
    report = trained(engine, recipe, tmp_path)
    assert len(np.load(tmp_path / "targets.npz").files) == 3
    assert report.curves[-1]["phase"] == "exact"
    assert any(
        "mean pairwise cosine" in alarm or "swap" in alarm or "costs" in alarm
        for alarm in report.collapse(engine.layout(recipe)).alarms
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    engine = Engine(tiny_base())
    save_hypernet(tmp_path / "h", engine, TINY, perturbed(fresh_network(engine, TINY)))
    return tmp_path / "h"


def test_a_checkpoint_for_another_base_model_is_refused(checkpoint: Path) -> None:
    with pytest.raises(MismatchError, match="was trained for base model tiny-llama"):
        load_hypernet(checkpoint, Engine(tiny_base("qwen2")))


def test_a_damaged_or_missing_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    with pytest.raises(ConfigError, match="no hypernetwork in"):
        load_hypernet(tmp_path / "nothing", engine)
    (checkpoint / "hypernet.safetensors").write_bytes(b"junk")
    with pytest.raises(ConfigError, match="is damaged"):
        load_hypernet(checkpoint, engine)


def test_two_hypernetworks_never_share_a_recipe_id(checkpoint: Path, tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    save_hypernet(tmp_path / "other", engine, TINY, perturbed(fresh_network(engine, TINY), seed=1))
    shutil.copytree(checkpoint, tmp_path / "copy")
    ids = [load_hypernet(folder, engine).recipe.id for folder in (checkpoint, tmp_path / "other", tmp_path / "copy")]
    assert ids[0] == ids[2] != ids[1]
    assert TINY.id not in ids
    last = last_layer(tmp_path, engine)
    refined = DynamicParameterizer(engine, last, refine=2).recipe
    ids.append(load_hypernet(last, engine).recipe.id)
    assert refined.id not in ids
    assert refined.parameterizer == "dynamic"


def test_predicted_rows_go_through_store_export_and_peft(checkpoint: Path, tmp_path: Path) -> None:
    base = tiny_base()
    engine = Engine(base)
    pairs = [make_passage(number) for number in range(3)]
    collection = Collection.open(tmp_path / "c")
    collection.add([passage for passage, _ in pairs])
    parameterizer = DynamicParameterizer(engine, checkpoint)
    report = parameterizer.encode(collection)
    assert (report.encoded, report.present, report.items) == (3, 0, 0)
    assert parameterizer.encode(collection).present == 3
    stored = collection.adapter(pairs[0][0].id)
    alone = parameterizer.predict(collection.passages([pairs[0][0].id]))[0]
    np.testing.assert_allclose(stored.row, alone, atol=1e-5)
    folder = export_peft([stored], tmp_path / "peft", base_name=base.name, layer_count=base.layer_count)
    ids = torch.tensor([[5, 6, 7, 8]])
    with engine.inject(stored):
        ours = engine.logits(ids[0].tolist())
    import copy

    theirs = PeftModel.from_pretrained(copy.deepcopy(base.model), str(folder))(input_ids=ids).logits[0]
    torch.testing.assert_close(ours, theirs.float(), atol=1e-4, rtol=1e-4)


def last_layer(tmp_path: Path, engine: Engine) -> Path:
    recipe = TINY.model_copy(update={"layers": "last", "rank": 8})
    save_hypernet(tmp_path / "last", engine, recipe, perturbed(fresh_network(engine, recipe)))
    return tmp_path / "last"


def test_refining_goes_on_from_the_prediction(tmp_path: Path) -> None:
    engine = Engine(tiny_base())
    checkpoint = last_layer(tmp_path, engine)
    pairs = [make_passage(number) for number in range(3)]
    losses = []
    for steps in (1, 4):
        made = DynamicParameterizer(engine, checkpoint, refine=steps).refined([*pairs, (make_passage(3)[0], [])])
        assert [type(one) for one in made] == [Adapter, Adapter, Adapter, Failed]
        assert all(adapter.stats["steps"] == steps for adapter in made[:3])
        assert all(adapter.stats["loss"] < 0.5 * adapter.stats["first_loss"] for adapter in made[:3])
        losses.append([adapter.stats["loss"] for adapter in made[:3]])
    assert np.mean(losses[1]) < np.mean(losses[0])


def test_a_refining_step_is_the_least_update_that_makes_its_moves() -> None:
    """Against numpy's least squares, where the rank is enough and the ridge is nothing."""
    engine = Engine(tiny_base())
    recipe = with_settings(TINY.model_copy(update={"layers": "last", "rank": 16}), items=2)
    batch = DirectBatch(engine.base, engine.layout(recipe), batch_of(engine, recipe, 1))
    random = np.random.default_rng(0)
    whitener = torch.from_numpy(random.standard_normal((1, 16, batch.inner.shape[-1])).astype(np.float32))
    nothing = Factors(torch.zeros(1, 1, 1, 16), torch.zeros(1, 1, 1, batch.final.shape[1]), whitener)
    scale = engine.layout(recipe).scale
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solving, "RIDGE", 1e-6)
        after = solving.solved(batch, nothing, scale, 16, 1)
        moves = solving._moves(batch, batch.final)
    seen = nothing.seen(batch.inner)[:, 0].double().numpy()
    expected = np.linalg.pinv(seen, rcond=1e-5) @ moves.double().numpy()
    update = scale * torch.einsum("cd,co->do", after.a[0, 0], after.b[0, 0])
    np.testing.assert_allclose(seen @ update.numpy(), seen @ expected, atol=0.05 * float(moves.abs().max()))
    assert (batch.nll(batch.final + moves) < 0.5 * batch.nll(batch.final)).all()


def test_only_last_layers_of_tokens_can_be_refined(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="only adapters of the last layer's down_proj"):
        DynamicParameterizer(Engine(tiny_base()), checkpoint, refine=1)


def test_invented_passages_hold_their_answers_and_repeat_by_seed() -> None:
    first, again, other = (list(islice(invented(seed), 40)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    for passage, items in first:
        assert all(passage.text[item.span[0] : item.span[1]] == item.answer for item in items if item.span)
        chosen = chosen_items(tiny_base(), passage, items, 3, 0)
        assert len({item.answer for item in chosen}) == len(chosen) <= 3


def test_modes_inject_adapters_of_their_own_kind_alone(checkpoint: Path, tmp_path: Path) -> None:
    from paramrag.modes import BESIDE_TEXT, weights_alone
    from paramrag.pipeline import Pipeline

    engine = Engine(tiny_base())
    collection = Collection.open(tmp_path / "c")
    collection.add([make_passage(0)[0]])
    parameterizer = DynamicParameterizer(engine, checkpoint)
    parameterizer.encode(collection)
    assert weights_alone(parameterizer.recipe) == "dyp-rag"
    assert weights_alone(TINY) == "p-rag"
    weights = []
    for mode, in_text in (("dyp-rag", False), ("dypt-rag", True)):
        answer = Pipeline(collection, engine, mode, recipe=parameterizer.recipe, max_new_tokens=2).ask(
            "When was Orrin built?"
        )
        assert answer.used[0].in_text == in_text
        assert answer.used[0].adapter
        weights.append(answer.used[0].weight)
    assert weights[1] == pytest.approx(BESIDE_TEXT * weights[0])
    with pytest.raises(
        ConfigError, match="injects trained adapters, those of recipe 'tiny' are predicted; use mode dyp-rag"
    ):
        Pipeline(collection, engine, "p-rag", recipe=parameterizer.recipe)
    with pytest.raises(ConfigError, match="injects predicted adapters"):
        Pipeline(collection, engine, "dypt-rag", recipe="default")
