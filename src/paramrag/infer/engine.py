"""Answers prompts in batches, each row with its own injection.

A prompt's last token is the first that is answered from: prompts are read up to it (by the base model alone, unless
an injection is `full`), then every step feeds one token per row with the injections on. That is answer-time
activation, as in activated LoRA (arXiv 2512.17910); it leaves the prompt's KV cache that of the base model.

Knows nothing of passages, collections or modes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..aggregate import concat
from ..config import Recipe
from ..errors import MismatchError
from ..models import BaseModel, load_base, stop_ids
from ..store.layout import AdapterLayout
from ..types import Adapter, Injection
from .injection import injected, stack
from .race import Race
from .request import Completion, Request
from .rows import Ticket
from .scheduler import Scheduler


class Engine:
    """A frozen base model that answers prompts with injections.

    Example:
        engine = Engine("smollm2-135m-instruct")
        engine.generate([Request(prompt_ids, injection)])
    """

    def __init__(
        self,
        model: str | BaseModel = "smollm2-135m-instruct",
        *,
        device: str = "cpu",
        dtype: str | torch.dtype | None = None,
        max_batch: int = 16,
        chunk_tokens: int = 256,
        prefix_cache_bytes: int = 0,
    ) -> None:
        """Loads the model.

        Args:
            model: bundled name, folder, GGUF file, hub id, or a loaded base model.
            device: torch device.
            dtype: numbers to compute in; None takes float32 on CPU and bfloat16 on CUDA.
            max_batch: most rows computed at once.
            chunk_tokens: most prompt tokens read between two decode steps.
            prefix_cache_bytes: memory for keys and values of prompts that later ones may begin with. 0 reads every
                prompt anew, so that timings of equal prompts are comparable; a server wants some.

        Raises:
            ModelError: the model cannot be found, read or adapted.
        """
        self.base = model if isinstance(model, BaseModel) else load_base(model, device=device, dtype=dtype)
        self.scheduler = Scheduler(
            self.base,
            frozenset(stop_ids(self.base.tokenizer, self.base.model)),
            max_batch=max_batch,
            chunk_tokens=chunk_tokens,
            prefix_cache_bytes=prefix_cache_bytes,
        )

    @property
    def max_batch(self) -> int:
        """Most rows computed at once."""
        return self.scheduler.max_batch

    @property
    def context_length(self) -> int:
        """Most tokens, prompt and answer together, that the model was made for."""
        return int(self.base.model.config.get_text_config().max_position_embeddings)

    @property
    def fingerprint(self) -> str:
        """Identifies the base model's weights and tokenizer."""
        return self.base.fingerprint

    def layout(self, recipe: Recipe) -> AdapterLayout:
        """Returns how this model's adapters are laid out under a recipe."""
        return AdapterLayout(
            layers=recipe.layer_indices(self.base.layer_count),
            modules=tuple(shape for shape in self.base.shapes if shape.name in recipe.modules),
            rank=recipe.rank,
            alpha=recipe.alpha,
        )

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Answers all requests, in their order; what a request gets does not depend on the others.

        Raises:
            MismatchError: an injection was made for another base model.
        """
        tickets: list[Ticket] = []
        try:
            tickets.extend(self.scheduler.submit(request) for request in requests)
            for ticket in tickets:
                self._finish(ticket)
            return [ticket.completion for ticket in tickets if ticket.completion]
        finally:
            self._give_up(tickets)

    def surest(self, questions: Sequence[tuple[Sequence[Request], Sequence[float]]]) -> list[Completion]:
        """Answers each question by the surest of its requests (`surest`), given how much each is doubted.

        Raises:
            MismatchError: an injection was made for another base model.
        """
        races: list[Race] = []
        try:
            races.extend(Race(self.scheduler, requests, doubts) for requests, doubts in questions)
            for race in races:
                while not race.done:
                    self.scheduler.step()
                if race.error:
                    raise race.error
            return [race.completion for race in races if race.completion]
        finally:
            for race in races:
                race.close()

    def stream(self, request: Request) -> Iterator[str]:
        """Yields the answer's text as it grows; closing the iterator gives the request up."""
        pieces: deque[str] = deque()
        ticket = self.scheduler.submit(request, lambda update: pieces.append(update.text))
        try:
            while not ticket.done:
                self.scheduler.step()
                while pieces:
                    if piece := pieces.popleft():
                        yield piece
            if ticket.error:
                raise ticket.error
            yield from filter(None, pieces)  # what another thread's step brought
        finally:
            self._give_up([ticket])

    def _finish(self, ticket: Ticket) -> None:
        while not ticket.done:
            self.scheduler.step()
        if ticket.error:
            raise ticket.error

    def _give_up(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            if not ticket.done:
                self.scheduler.cancel(ticket)

    @contextmanager
    def inject(self, what: Adapter | Injection | None, scale: float = 1.0) -> Iterator[None]:
        """Adds an adapter or injection at every position of whatever runs inside; takes it out on leaving.

        Raises:
            MismatchError: the adapter was made for another base model.
        """
        if isinstance(what, Adapter):
            if what.key.base != self.fingerprint:
                raise MismatchError(
                    f"adapter of passage {what.key.passage_id} was made for base model {what.key.base}, this is "
                    f"{self.base.name} ({self.fingerprint}): encode the passage for this model"
                )
            what = concat(what.layout, what.row[None], [1.0], "full")
        with injected(self.base, stack([what], self.base, scale)):
            yield

    def logits(self, prompt: str | Sequence[int]) -> torch.Tensor:
        """Returns float32 logits [T, V] at every position of a text or token list."""
        ids = self.base.tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else list(prompt)
        with torch.inference_mode():
            output = self.base.model(input_ids=torch.tensor([ids], device=self.base.device), use_cache=False)
        logits: torch.Tensor = output.logits[0].float()
        return logits
