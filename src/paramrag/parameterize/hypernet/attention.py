"""Our hypernetwork: a query for every layer, module and rank looks for its factors among the passage's tokens.

    states of several depths -> encoder (self-attention) -> queries attend, twice -> normalised latents -> factors

A factor is the sum of three parts: a bias that knows no passage, so that the others need not carry what passages have
in common (as Doc-to-LoRA, arXiv 2602.15902); a mixture of few learned directions; and, where a factor lives in the
model's own width, the embeddings of the tokens it attends to. The last lets an adapter write out names that were
never seen in training. All that comes from the passage starts at size zero in B, so an untrained hypernetwork changes
nothing.

A factors of down_proj read the block's inner activations, whose neurons differ in size by orders of magnitude: they
are predicted for activations of size one.

Shapes: N passages, T tokens, S depths, D model width, W width of the encoder, Q queries (modules x layers x rank),
K directions, L layers, r rank, P numbers per row.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from ...config import Hypernet
from ...models import BaseModel
from ...store.layout import AdapterLayout
from ..trainer import initial_row
from .reading import MAX_TOKENS, Readings

LATENT_NORM = 8.0
"""Norm of the coefficients that directions are mixed with."""


class AttentionHypernet(nn.Module):
    """Readings -> adapter rows."""

    scales: torch.Tensor

    def __init__(self, base: BaseModel, layout: AdapterLayout, settings: Hypernet, seed: int) -> None:
        """Starts from random weights; the base model's embeddings are used, not held."""
        super().__init__()
        self._layout = layout
        self._embedding = [base.model.get_input_embeddings().weight]  # in a list: no parameter of this module
        model_width = self._embedding[0].shape[1]
        width, layers, rank = settings.width, len(layout.layers), layout.rank
        queries = len(layout.modules) * layers * rank
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.entrance = nn.Linear(model_width * len(settings.depths), width)
            self.places = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
            self.encoder = nn.ModuleList(_Block(width, settings.heads) for _ in range(settings.blocks))
            self.read_norm = nn.LayerNorm(width)
            self.queries = nn.Parameter(torch.randn(queries, width) * 0.5)
            self.looks = nn.ModuleList(_Block(width, settings.heads) for _ in range(2))
            self.among = _Block(width, settings.heads)
            self.latent_norm = nn.LayerNorm(width)
            self.parts = nn.ModuleDict()
            for module in layout.modules:
                for factor, size in (("a", module.in_features), ("b", module.out_features)):
                    copies = settings.copying and size == model_width
                    self.parts[f"{module.name}_{factor}"] = _Factor(width, layers, rank, size, settings.basis, copies)
            if settings.copying:
                self.copy_key, self.copy_query = nn.Linear(width, width), nn.Linear(width, width)
                self.copy_queries = nn.Parameter(torch.randn(queries, width) * 0.5)
                self.copy_context = nn.Linear(width, width)
        for name, (a_LrI, _) in layout.views(torch.from_numpy(initial_row(layout, seed))).items():
            self.parts[f"{name}_a"].bias.data.copy_(a_LrI)  # type: ignore[operator]
            self.parts[f"{name}_a"].mixed.data.fill_(0.5 * a_LrI.shape[-1] ** -0.5)  # type: ignore[operator]
        self._copying = settings.copying

    def set_scales(self, inner_LI: torch.Tensor) -> None:
        """Takes note of how large inner activations are, float32 [L, I]: once, before training."""
        self.parts["down_proj_a"].unit.data.copy_(1 / inner_LI[:, None])  # type: ignore[operator]

    def forward(self, readings: Readings) -> torch.Tensor:
        """Returns adapter rows [N, P]."""
        states_NTW = self.entrance(_rms(readings.states).flatten(2)) + self.places[: readings.ids.shape[1]]
        for block in self.encoder:
            states_NTW = block(states_NTW, mask=readings.mask)
        seen_NTW = self.read_norm(states_NTW)
        latents_NQW = self.queries.expand(len(readings.ids), -1, -1)
        latents_NQW = self.among(self.looks[0](latents_NQW, seen_NTW, readings.mask))
        latents_NQW = self.looks[1](latents_NQW, seen_NTW, readings.mask)
        copied_NQD: torch.Tensor | None = None
        if self._copying:
            weights_NQT = self._weights(self.latent_norm(latents_NQW), seen_NTW, readings.mask)
            copied_NQD = weights_NQT @ _rms(self._embedding[0][readings.ids].float())
            latents_NQW = latents_NQW + self.copy_context(weights_NQT @ seen_NTW)  # where the token stood: its key
        shape = (len(readings.ids), len(self._layout.modules), len(self._layout.layers), self._layout.rank, -1)
        latents = self.latent_norm(latents_NQW).view(shape)
        copied = None if copied_NQD is None else copied_NQD.view(shape)
        row: list[torch.Tensor] = []
        for at, module in enumerate(self._layout.modules):
            for factor in "ab":
                part = self.parts[f"{module.name}_{factor}"]
                row.append(part(latents[:, at], None if copied is None else copied[:, at]).flatten(1))
        return torch.cat(row, 1)

    def _weights(self, latents_NQW: torch.Tensor, seen_NTW: torch.Tensor, mask_NT: torch.Tensor) -> torch.Tensor:
        """Returns how much each query copies of each token, [N, Q, T]."""
        query = self.copy_query(latents_NQW) + self.copy_queries
        products = query @ self.copy_key(seen_NTW).transpose(1, 2) / math.sqrt(query.shape[-1])
        weights: torch.Tensor = products.masked_fill(~mask_NT[:, None], -torch.inf).softmax(-1)
        return weights


class _Factor(nn.Module):
    """One factor of one module, all layers."""

    unit: torch.Tensor

    def __init__(self, width: int, layers: int, rank: int, size: int, directions: int, copies: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(layers, rank, size))
        self.mixture = nn.Linear(width, directions)
        self.directions = nn.Parameter(torch.randn(layers, directions, size) * directions**-0.5)
        self.mixed = nn.Parameter(torch.zeros(layers, rank, 1))
        self.copied = nn.Parameter(torch.zeros(layers, rank, 1)) if copies else None
        self.gains = nn.Parameter(torch.ones(layers, rank, size)) if copies else None
        self.register_buffer("unit", torch.ones(layers, 1, size))

    def forward(self, latents_NLrW: torch.Tensor, copied_NLrD: torch.Tensor | None) -> torch.Tensor:
        """Returns the factor [N, L, r, size]."""
        weights = LATENT_NORM * functional.normalize(self.mixture(latents_NLrW), dim=-1)
        found = self.bias + self.mixed * torch.einsum("nlrk,lks->nlrs", weights, self.directions)
        if self.copied is not None and self.gains is not None and copied_NLrD is not None:
            found = found + self.copied * self.gains * copied_NLrD
        scaled: torch.Tensor = found * self.unit
        return scaled


class _Block(nn.Module):
    """Attention and a feed-forward block, each on what was normalised and added to what comes in; starts as nothing."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.fall.weight)

    def forward(
        self, x_NQW: torch.Tensor, seen_NTW: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Looks at `seen` [N, T, W] where `mask` [N, T] allows; at itself if there is none."""
        normed = self.norm(x_NQW)
        key, value = self.key_value(normed if seen_NTW is None else seen_NTW).chunk(2, -1)
        allowed = None if mask is None else mask[:, None, None]
        query, key, value = (self._split(part) for part in (self.query(normed), key, value))
        looked = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        x_NQW = x_NQW + self.out(looked.transpose(1, 2).flatten(2))
        added: torch.Tensor = x_NQW + self.fall(functional.gelu(self.rise(self.feed_norm(x_NQW))))
        return added

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)


def _rms(x: torch.Tensor) -> torch.Tensor:
    """Returns vectors of root mean square 1."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
