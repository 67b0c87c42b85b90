"""Teacher forcing: one prompt read as the engine reads it, then given responses run through the model.

Several injections run side by side over the same tokens, one per row of the batch, so that what differs between rows
differs because of the injection alone. Knows nothing of passages or questions.

Shapes: R injections, N response tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from ..errors import ConfigError
from ..infer import injected, stack
from ..infer.prefill import Prompts
from ..models import BaseModel
from ..types import Injection

CHUNK_NUMBERS = 1 << 22
"""Logits held at a time: 16 MiB in float32, whatever the vocabulary and the length of the response."""


class Forced:
    """A prompt in the KV cache, ready for responses; the positions that run are those that predict response tokens.

    With activation `answer` the base model alone reads the prompt up to its last token, as in the engine.
    """

    @torch.inference_mode()
    def __init__(
        self,
        base: BaseModel,
        prompt_ids: Sequence[int],
        injections: Sequence[Injection | None] = (None,),
        *,
        reading: AbstractContextManager[object] | None = None,
    ) -> None:
        """Reads the prompt.

        Args:
            injections: one per row; all of those that are not None with the same activation.
            reading: entered while the prompt is read, to watch the model then.

        Raises:
            ConfigError: no token, no row, or activations that differ.
        """
        activations = {injection.activation for injection in injections if injection is not None}
        if not prompt_ids or not injections or len(activations) > 1:
            raise ConfigError(
                f"got {len(prompt_ids)} prompt tokens and {len(injections)} injections with activations "
                f"{sorted(activations)}; expected at least one of each, and one activation for all"
            )
        self._base = base
        self._last = prompt_ids[-1]
        self._factors = stack(injections, base)
        full = activations == {"full"}
        with injected(base, self._factors if full else None), reading or nullcontext():
            self._prompts = Prompts(base, [prompt_ids[:-1]] * len(injections), share=not full)

    @torch.inference_mode()
    def run(self, response_ids: Sequence[int], watching: AbstractContextManager[object] | None = None) -> torch.Tensor:
        """Runs a response; the prompt's cache is then as it was.

        Args:
            response_ids: N tokens.
            watching: entered while the response runs, to watch the model then.

        Returns:
            States after the final norm [R, N, D]; those at n predict response token n.
        """
        if not response_ids:
            raise ConfigError("the response has no token; expected at least one")
        prompts, device = self._prompts, self._base.device
        rows, count = len(prompts.lengths), len(response_ids)
        tail = torch.tensor([[self._last, *response_ids[:-1]]], device=device).expand(rows, -1)
        with injected(self._base, self._factors), watching or nullcontext():
            output = self._base.decoder(
                input_ids=tail,
                attention_mask=torch.nn.functional.pad(prompts.mask, (0, count), value=1),
                position_ids=prompts.lengths[:, None] + torch.arange(count, device=device),
                past_key_values=prompts.cache,
                use_cache=True,
            )
        prompts.cache.crop(-count)
        states: torch.Tensor = output.last_hidden_state
        return states

    @torch.inference_mode()
    def log_probs(
        self, response_ids: Sequence[int], watching: AbstractContextManager[object] | None = None
    ) -> torch.Tensor:
        """Returns the log-probability of every response token in nats, float32 [R, N]; `watching` as in `run`."""
        states_RND = self.run(response_ids, watching)
        wanted_N = torch.tensor(response_ids, device=self._base.device)
        found = torch.empty(states_RND.shape[:2])
        for row, states_ND in enumerate(states_RND):
            for part in chunks(len(states_ND), self._base):
                logits_nV = self._base.head(states_ND[part], normed=True).float()
                chosen_n = logits_nV.gather(-1, wanted_N[part, None])[:, 0]
                found[row, part] = (chosen_n - logits_nV.logsumexp(-1)).cpu()
        return found


def chunks(count: int, base: BaseModel) -> list[slice]:
    """Cuts `count` positions into pieces whose logits are at most CHUNK_NUMBERS numbers."""
    step = chunk_positions(base)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def chunk_positions(base: BaseModel) -> int:
    """Returns how many positions' logits are CHUNK_NUMBERS numbers, at least one."""
    vocabulary: int = base.model.get_output_embeddings().weight.shape[0]
    return max(1, CHUNK_NUMBERS // vocabulary)
