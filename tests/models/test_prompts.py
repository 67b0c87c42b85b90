from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paramrag.errors import ModelError
from paramrag.models import DEFAULT_SYSTEM, chat_ids, prompt_ids, stop_ids
from paramrag.types import Passage

TOWER = Passage(text="The tower was designed by Ada.", title="Tower")
UNTITLED = Passage(text="The north is cold.")
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
DROPS_SYSTEM = (
    "{% for m in messages if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_passages_are_numbered_and_come_between_system_and_question(tokenizer):
    text = tokenizer.decode(prompt_ids(tokenizer, "Who designed it?", [TOWER, UNTITLED], system="Be brief."))
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert text.endswith("Who designed it?<|im_end|>\n<|im_start|>assistant\n")
    places = [
        text.index(part)
        for part in ("Passage 1: Tower\nThe tower was designed by Ada.", "Passage 2:\nThe north", "Question: Who")
    ]
    assert places == sorted(places)


def test_without_passages_only_they_are_missing(tokenizer):
    with_text = tokenizer.decode(prompt_ids(tokenizer, "Who designed it?", [TOWER]))
    without = tokenizer.decode(prompt_ids(tokenizer, "Who designed it?"))
    assert DEFAULT_SYSTEM in without
    start = with_text.index("<|im_start|>user\n") + len("<|im_start|>user\n")
    assert without[:start] == with_text[:start]
    assert with_text.endswith(without[start:])
    assert "Tower" not in without


@given(st.text(max_size=40), st.text(max_size=40), st.booleans())
def test_all_prompts_share_the_tokens_of_the_system_message(tokenizer, first, second, passage):
    system = tokenizer(f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>\n<|im_start|>user\n").input_ids
    for question in (first, second):
        assert prompt_ids(tokenizer, question, [TOWER] if passage else [])[: len(system) - 1] == system[:-1]


@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM])
def test_a_template_without_a_system_role_gets_it_in_the_users_turn(template, make_tokenizer):
    tokenizer = make_tokenizer(template=template)
    text = tokenizer.decode(prompt_ids(tokenizer, "Who?", system="Be brief."))
    assert text == "<user>Be brief.\n\nQuestion: Who?</><assistant>"
    only = tokenizer.decode(chat_ids(tokenizer, [{"role": "system", "content": "Be brief."}]))
    assert only == "<user>Be brief.</><assistant>"


def test_a_conversation_keeps_its_turns(tokenizer):
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    messages = [{"role": role, "content": content} for role, content in turns]
    assert tokenizer.decode(chat_ids(tokenizer, messages)) == (
        "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|im_start|>assistant\n"
    )


def test_a_conversation_the_template_refuses_is_an_error(make_tokenizer):
    with pytest.raises(ModelError, match="refuses the turns user, user: Roles must alternate"):
        chat_ids(make_tokenizer(template=NO_SYSTEM), [{"role": "user", "content": "a"}] * 2)


def test_without_a_template_turns_are_plain_lines(make_tokenizer):
    tokenizer = make_tokenizer(template=None)
    text = tokenizer.decode(prompt_ids(tokenizer, "Who?", system="Be brief."))
    assert text == "Be brief.\n\nUser: Question: Who?\n\nAssistant:"


def test_without_a_system_message_there_is_none(tokenizer):
    assert tokenizer.decode(prompt_ids(tokenizer, "Who?", system="")).startswith("<|im_start|>user\n")


def test_every_token_that_ends_an_answer_is_known(tokenizer, make_model):
    model = make_model("llama")
    assert stop_ids(tokenizer, model) == (0, 2)
    model.generation_config.eos_token_id = [2, 77]
    model.config.eos_token_id = None
    assert stop_ids(tokenizer, model) == (0, 2, 77)
