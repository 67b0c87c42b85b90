"""The one prompt template of every mode: the modes differ only in the passages they are given here.

A prompt is the system message, then the passages if any, then the question with the answers it allows, through the
tokenizer's own chat template. The system message comes first, so that all prompts share their first tokens, and the
question last, where small models attend best. Knows nothing of adapters and of generation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..errors import ModelError
from ..types import Passage, Query

# The best of six wordings for reading, 46.7 against 31.7-40.0 HasAnswer: SmolLM2-135M, 60 SQuAD questions, each with
# its gold passage, greedy, 32 tokens; the 95 % interval is 12 points wide to each side. Ending in "Answer:": 31.7.
DEFAULT_SYSTEM = "You are a helpful assistant. Give the shortest correct answer, without explanation."


def prompt_ids(
    tokenizer: Any, question: str | Query, passages: Sequence[Passage] = (), *, system: str = DEFAULT_SYSTEM
) -> list[int]:
    """Returns the token ids of a prompt that ends where the answer begins.

    Args:
        tokenizer: of the base model.
        question: as the user asked it; a `Query` may be a claim, and name the answers it allows.
        passages: numbered and put before the question, in this order; none for closed-book modes.
        system: the instruction; empty for none.
    """
    messages = [{"role": "system", "content": system}] if system else []
    return chat_ids(tokenizer, [*messages, {"role": "user", "content": user_turn(question, passages)}])


def user_turn(question: str | Query, passages: Sequence[Passage] = ()) -> str:
    """Returns the text of the user's turn: the passages, if any, then the question and the answers it allows."""
    blocks = [_block(number, passage) for number, passage in enumerate(passages, 1)]
    return "\n\n".join([*blocks, _asked(question)])


def _block(number: int, passage: Passage) -> str:
    return f"Passage {number}: {passage.title}".rstrip() + f"\n{passage.text}"


def answer_ids(tokenizer: Any, answer: str) -> tuple[int, ...]:
    """Returns the token ids of an answer as it is written after a prompt, without the token that ends it."""
    return tuple(tokenizer(answer, add_special_tokens=False)["input_ids"])


def chat_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Returns the token ids of a conversation, ending where the assistant's next turn begins.

    Uses the tokenizer's chat template. Where the template refuses a system role, the system text opens the first user
    turn; where there is no template, turns are lines such as `User: ...` and the prompt ends in `Assistant:`.

    Args:
        tokenizer: of the base model.
        messages: {"role": "system" | "user" | "assistant", "content": text}, in order.

    Raises:
        ModelError: the template refuses this order of roles.
    """
    text, special = _rendered(tokenizer, messages)
    return list(tokenizer(text, add_special_tokens=special).input_ids)


def passage_spans(
    tokenizer: Any, question: str, passages: Sequence[Passage], *, system: str = DEFAULT_SYSTEM
) -> list[range]:
    """Returns where each passage, with its number and title, stands among the tokens `prompt_ids` gives.

    A token that reaches over the edge of a passage counts to it.

    Raises:
        ModelError: the tokenizer cannot tell where its tokens come from, or its template changes the text.
    """
    messages = [{"role": "system", "content": system}] if system else []
    turn = user_turn(question, passages)
    text, special = _rendered(tokenizer, [*messages, {"role": "user", "content": turn}])
    if not tokenizer.is_fast:
        raise ModelError(f"{type(tokenizer).__name__} does not say where its tokens stand; expected a fast tokenizer")
    offsets = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)["offset_mapping"]
    ends = list(accumulate((end for _, end in offsets), max))  # tokens added around the text stand at 0
    spans = []
    at = 0
    for number, passage in enumerate(passages, 1):
        block = _block(number, passage)
        start = text.find(block, at)
        if start < 0:
            raise ModelError(f"the chat template changes passage {number}, so its tokens cannot be found")
        at = start + len(block)
        spans.append(range(bisect_right(ends, start), bisect_left(ends, at) + 1))
    return spans


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> tuple[str, bool]:
    """The text of a conversation, and whether the tokenizer has to add special tokens to it."""
    from jinja2 import TemplateError

    turns = [dict(message) for message in messages]
    if not tokenizer.chat_template:
        return _plain(turns), True
    if turns and turns[0]["role"] == "system" and not _takes_system(tokenizer):
        turns = _folded(turns)
    try:
        # the template writes the special tokens itself
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), False
    except TemplateError as error:
        roles = ", ".join(turn["role"] for turn in turns)
        raise ModelError(
            f"the model's chat template refuses the turns {roles}: {error}; expected user and assistant in alternation"
        ) from error


def stop_ids(tokenizer: Any, model: Any) -> tuple[int, ...]:
    """Returns the ids of all tokens that end an answer, ascending: end of turn and end of text.

    They come from the tokenizer, the generation config and the model config; chat models of several families end
    their turns with another token than the one the tokenizer calls end of sequence.
    """
    found: set[int] = set()
    for source in (tokenizer, model.generation_config, model.config):
        ids = getattr(source, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or [])
    vocabulary = tokenizer.get_vocab()
    found.update(vocabulary[token] for token in _END_OF_TURN if token in vocabulary)
    return tuple(sorted(found))


# End-of-turn tokens of ChatML (Qwen, SmolLM), Llama 3, Gemma, and end-of-text of the first two
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>")


def _asked(question: str | Query) -> str:
    query = Query(question) if isinstance(question, str) else question
    lead = "Claim" if query.form == "claim" else "Question"
    allowed = [f"Answer with one of these: {'; '.join(query.choices)}"] if query.choices else []
    return "\n".join([f"{lead}: {query.text}", *allowed])


def _takes_system(tokenizer: Any) -> bool:
    """Whether the template renders a system message instead of refusing or dropping it."""
    from jinja2 import TemplateError

    probe = [{"role": "system", "content": "a7f3"}, {"role": "user", "content": "b"}]
    try:
        return "a7f3" in tokenizer.apply_chat_template(probe, tokenize=False)
    except TemplateError:
        return False


def _folded(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    system, *rest = turns
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system["content"]}, *rest]
    first = {"role": "user", "content": f"{system['content']}\n\n{rest[0]['content']}"}
    return [first, *rest[1:]]


def _plain(turns: list[dict[str, str]]) -> str:
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    return "\n\n".join([names[turn["role"]] + turn["content"] for turn in turns] + ["Assistant:"])
