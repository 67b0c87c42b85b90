"""Reads prompts into a KV cache: padded to the longest, the tokens that all of them begin with read once.

Shapes: N prompts, C tokens of the common prefix, Q padded tokens after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from ..models import BaseModel


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Returns how many leading tokens all prompts share."""
    if not prompts:
        return 0
    ordered = sorted(map(list, prompts))
    first, last = ordered[0], ordered[-1]
    for position, (left, right) in enumerate(zip(first, last, strict=False)):
        if left != right:
            return position
    return min(len(first), len(last))


class Prompts:
    """A batch of prompts in a KV cache, padded in front of what follows the common prefix.

    Attributes:
        cache: keys and values of all N prompts.
        mask: int64 [N, C + Q], 1 where there is a token.
        lengths: int64 [N], tokens of each prompt, padding not counted: the position of whatever follows.
    """

    def __init__(self, base: BaseModel, prompts: Sequence[Sequence[int]], *, share: bool = True) -> None:
        """Runs the model over the prompts.

        Args:
            prompts: token ids, one list per row; may be empty lists.
            share: read the common prefix once. Must be off where rows have different injections on.
        """
        device = base.device
        count = len(prompts)
        # a sliding window counts slots, so padding inside a prompt would push tokens out of it
        slides = getattr(base.model.config.get_text_config(), "sliding_window", None) is not None
        shared = common_prefix(prompts) if share and count > 1 and not slides else 0
        rests = [list(prompt[shared:]) for prompt in prompts]
        width = max(len(rest) for rest in rests)
        pad = base.tokenizer.pad_token_id or 0
        self.cache = DynamicCache()
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.mask = torch.ones(count, shared + width, dtype=torch.long, device=device)
        ids = torch.full((count, width), pad, dtype=torch.long, device=device)
        for row, rest in enumerate(rests):
            ids[row, width - len(rest) :] = torch.tensor(rest, dtype=torch.long)
            self.mask[row, shared : shared + width - len(rest)] = 0
        with torch.inference_mode():
            if shared:
                head = torch.tensor([prompts[0][:shared]], device=device)
                base.decoder(input_ids=head, past_key_values=self.cache, use_cache=True)
                self.cache.batch_repeat_interleave(count)
            if width:
                positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
                base.decoder(
                    input_ids=ids,
                    attention_mask=self.mask,
                    position_ids=positions,
                    past_key_values=self.cache,
                    use_cache=True,
                )

    def keep(self, rows: torch.Tensor) -> None:
        """Drops all prompts but `rows` (row numbers)."""
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]
        self.lengths = self.lengths[rows]
