"""Recipes are validated where they enter, and identified by what they do."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from paramrag.config import Recipe, load_recipe, parse_recipe
from paramrag.errors import ConfigError


@pytest.mark.parametrize("name", ["default", "paper"])
def test_shipped_recipes_load(name: str) -> None:
    assert load_recipe(name).name == name


def test_the_paper_recipe_is_the_published_one() -> None:
    recipe = load_recipe("paper")
    assert (recipe.rank, recipe.alpha, recipe.learning_rate, recipe.epochs, recipe.batch_items) == (2, 32, 3e-4, 1, 1)
    assert (recipe.layers, recipe.activation, recipe.objective) == ("all", "full", "nll-all")
    assert (recipe.augmentation.questions, recipe.augmentation.rewrites) == (3, 1)


def test_the_id_is_what_the_recipe_does_not_what_it_is_called() -> None:
    assert Recipe(name="a").id == Recipe(name="b").id
    assert Recipe(rank=2).id != Recipe(rank=4).id
    assert Recipe(modules=("gate_proj", "down_proj")).id == Recipe(modules=("down_proj", "gate_proj")).id


def test_settings_that_are_gone_are_no_error_where_they_did_nothing() -> None:
    held = load_recipe("default").model_dump(mode="json")
    assert Recipe.model_validate(held | {"task_layers": "", "task_rank": 0}).id == load_recipe("default").id
    with pytest.raises(ValidationError, match="task_rank"):
        Recipe.model_validate(held | {"task_layers": "", "task_rank": 4})


def test_a_file_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rank: 4\naugmentation: {questions: 3}\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.rank, recipe.augmentation.questions) == ("mine", 4, 3)
    path.write_text("")
    assert load_recipe(path).id == Recipe().id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rnak: 2", "unknown setting 'rnak'.*did you mean 'rank'"),
        ("augmentation: {question: 2}", "did you mean 'questions'"),
        ("rank: many", "rank:.*got 'many'"),
        ("rank: 0\nalpha: -1", "rank:.*alpha:"),
        ("layers: upper", "layers 'upper' is not"),
        ("modules: [down_proj, down_proj]", "name one twice"),
        ("objective: nll-all", "activation: full"),
        ("[1, 2]", "expected a mapping"),
        ("rank: [", "not valid YAML"),
    ],
)
def test_bad_files_say_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(path)


def test_unknown_names_and_files() -> None:
    with pytest.raises(ConfigError, match="did you mean 'default'"):
        load_recipe("defualt")
    with pytest.raises(ConfigError, match="no recipe file"):
        load_recipe("missing.yaml")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("all", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("first-half", (0, 1, 2, 3)),
        ("last-half", (4, 5, 6, 7)),
        ("last-quarter", (6, 7)),
        ("last", (7,)),
        ("2-3,7,3", (2, 3, 7)),
    ],
)
def test_layers(layers: str, expected: tuple[int, ...]) -> None:
    assert Recipe(layers=layers).layer_indices(8) == expected


def test_layers_the_model_lacks() -> None:
    with pytest.raises(ConfigError, match="the model has layers 0 to 7"):
        Recipe(layers="6-9").layer_indices(8)


def test_parse_names_the_source() -> None:
    with pytest.raises(ConfigError, match=r"^request: "):
        parse_recipe({"rank": "x"}, source="request")
