"""Our hypernetwork: what an answer may say of a passage, each token with the activations it is said upon.

    states of several depths -> encoder (self-attention) -> for each token: a key, a value, and how much it counts

An adapter's row of A is a key: it is compared with the inner activations where the model is about to speak. Its row of
B is a value: what is written if they agree. Here every token of the passage that an answer may begin or go on with
(`spelling`) has a value made of its own output embedding, so names that were never seen in training can be written; its
key is predicted from its state, and for a token that goes on, from the token before it, too. Their sum over the
passage is cut to the rank of the layout at the end, by singular values.

Keys live where inner activations have size one in every direction, and values where embeddings do: a key of one
question then disturbs few others (MEMIT, arXiv 2210.07229, weighs its updates so), and a value raises its own token.

Shapes: N passages, T tokens, S depths, C choices, D model width, W width of the encoder, L layers, d key width, I inner
width, r rank, P numbers per row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from ...config import Hypernet
from ...errors import ConfigError
from ...models import BaseModel
from ...store.layout import AdapterLayout
from .examples import Example
from .factors import Factors, cut
from .reading import MAX_TOKENS, Readings, Slots

COMMON = 16
"""Keys and values that know no passage, so that what passages have in common need not be predicted."""
SHARPNESS = 0.1
"""Ridge of values' whitening, of the mean eigenvalue of the embeddings' second moment."""
START_COPIED = 0.02
"""Size of the token's own part in a value before training: enough for keys to have a gradient."""
RIDGE = 0.05
"""Of the regression of keys on the tokens before."""


class TokenHypernet(nn.Module):
    """Readings -> adapter rows."""

    whitener: torch.Tensor
    sharpener: torch.Tensor

    def __init__(self, base: BaseModel, layout: AdapterLayout, settings: Hypernet, seed: int) -> None:
        """Starts from random weights; the base model's embeddings are used, not held.

        Raises:
            ConfigError: the recipe adapts more than down_proj.
        """
        super().__init__()
        if [module.name for module in layout.modules] != ["down_proj"]:
            raise ConfigError(
                f"encoder tokens predicts adapters of down_proj alone; the recipe adapts "
                f"{', '.join(module.name for module in layout.modules)}; set modules: [down_proj]"
            )
        self._layout = layout
        self._embedding = [base.model.get_input_embeddings().weight]  # in a list: no parameter of this module
        output = base.model.get_output_embeddings().weight
        model_width, inner_width = output.shape[1], layout.modules[0].in_features
        width, layers, keys = settings.width, len(layout.layers), min(settings.keys, inner_width)
        self._output = [output]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.entrance = nn.Linear(model_width * len(settings.depths), width)
            self.places = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
            self.encoder = nn.ModuleList(_Block(width, settings.heads) for _ in range(settings.blocks))
            self.read_norm = nn.LayerNorm(width)
            sizes = (width, layers, keys, model_width)
            self.first = _Speaker(*sizes, settings.basis, copying=settings.copying, follows=False)
            self.following = _Speaker(*sizes, settings.basis, copying=settings.copying, follows=True)
            self.common_a = nn.Parameter(torch.randn(layers, COMMON, keys) * keys**-0.5)
            self.common_b = nn.Parameter(torch.zeros(layers, COMMON, model_width))
        self.register_buffer("whitener", torch.eye(keys, inner_width).repeat(layers, 1, 1))
        self.register_buffer("sharpener", _sharpener(base), persistent=False)

    @torch.no_grad()
    def prepare(self, examples: Sequence[Example]) -> None:
        """Takes note of inner activations where the model is about to speak, once, before training."""
        inner_MLI = torch.cat([example.traces.inner for example in examples]).to(self.whitener)
        labels = torch.cat([example.traces.labels for example in examples]).to(self.whitener.device)
        most = max(len(example.items) for example in examples)
        owners = torch.cat([example.traces.owners + at * most for at, example in enumerate(examples)])
        follows = ((owners[1:] == owners[:-1]).nonzero()[:, 0] + 1).to(labels.device)
        before_MD = _rms(self._embedding[0][labels[follows - 1]].float())
        count = max(1, len(before_MD))
        gram = before_MD.T @ before_MD / count + RIDGE * torch.eye(before_MD.shape[1], device=labels.device)
        for layer, inner_MI in enumerate(inner_MLI.unbind(1)):
            self.whitener[layer] = _whitener(inner_MI, self.whitener.shape[1])
            seen_Md = inner_MI[follows] @ self.whitener[layer].T
            found_Dd = torch.linalg.solve(gram, before_MD.T @ seen_Md / count)
            self.following.before[layer].weight.copy_(found_Dd.T)  # type: ignore[operator]

    def factors(self, readings: Readings) -> Factors:
        """Returns keys and values of everything that may be said, as many as there are."""
        states_NTW = self.entrance(_rms(readings.states).flatten(2)) + self.places[: readings.ids.shape[1]]
        for block in self.encoder:
            states_NTW = block(states_NTW, mask=readings.mask)
        seen_NTW = self.read_norm(states_NTW)
        count = len(seen_NTW)
        parts = [
            (self.common_a.expand(count, -1, -1, -1), self.common_b.expand(count, -1, -1, -1)),
            *(
                speaker(_taken(seen_NTW, slots.at), slots, self._embedding[0], self._output[0], self.sharpener)
                for speaker, slots in ((self.first, readings.first), (self.following, readings.following))
            ),
        ]
        return Factors(torch.cat([a for a, _ in parts], 2), torch.cat([b for _, b in parts], 2), self.whitener)

    def cut(self, readings: Readings) -> Factors:
        """Returns the factors, cut to the layout's rank."""
        found = self.factors(readings)
        return Factors(*cut(found.a, found.b, self._layout.rank), self.whitener)

    def forward(self, readings: Readings) -> torch.Tensor:
        """Returns adapter rows [N, P]."""
        return self.cut(readings).rows()


class _Speaker(nn.Module):
    """States of choices -> their keys and values."""

    def __init__(
        self, width: int, layers: int, keys: int, model_width: int, directions: int, *, copying: bool, follows: bool
    ) -> None:
        super().__init__()
        self._layers, self._keys, self._copying = layers, keys, copying
        self.key = nn.Linear(width, layers * keys)
        self.counts = nn.Linear(width, 1)
        self.mixture = nn.Linear(width, directions)
        self.directions = nn.Parameter(torch.randn(layers, directions, model_width) * 0.05)
        self.mixed = nn.Parameter(torch.zeros(layers, 1, 1))
        self.copied = nn.Parameter(torch.full((layers, 1, 1), START_COPIED))
        self.gains = nn.Parameter(torch.ones(layers, 1, model_width))
        nn.init.constant_(self.counts.bias, -1.0)
        self.before = nn.ModuleList(nn.Linear(model_width, keys, bias=False) for _ in range(layers if follows else 0))
        self.turns = nn.Linear(width, 1) if follows else None

    def forward(
        self,
        seen_NCW: torch.Tensor,
        slots: Slots,
        embedding_VD: torch.Tensor,
        output_VD: torch.Tensor,
        sharpener_DD: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns keys [N, L, C, d] and values [N, L, C, D]."""
        key_NLCd = self.key(seen_NCW).unflatten(-1, (self._layers, self._keys)).transpose(1, 2)
        if self.turns is not None:
            before_NCD = _rms(embedding_VD[slots.before.clamp(min=0)].float()) * (slots.before >= 0)[..., None]
            shown = torch.stack([layer(before_NCD) for layer in self.before], 1)
            key_NLCd = key_NLCd + self.turns(seen_NCW).sigmoid()[:, None] * shown
        counts_NC = self.counts(seen_NCW)[..., 0].sigmoid() * slots.mask
        value_NLCD = self.mixed * torch.einsum("nck,lkd->nlcd", self.mixture(seen_NCW), self.directions)
        if self._copying:
            written_NCD = _rms(output_VD[slots.tokens].float() @ sharpener_DD)
            value_NLCD = value_NLCD + self.copied * self.gains * written_NCD[:, None]
        return key_NLCd * counts_NC[:, None, :, None] / self._keys, value_NLCD


class _Block(nn.Module):
    """Attention and a feed-forward block, each on what was normalised and added to what comes in; starts as nothing."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.fall.weight)

    def forward(self, x_NTW: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Looks at itself where `mask` [N, T] allows."""
        parts = self.query_key_value(self.norm(x_NTW)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in parts)
        looked = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        x_NTW = x_NTW + self.out(looked.transpose(1, 2).flatten(2))
        added: torch.Tensor = x_NTW + self.fall(functional.gelu(self.rise(self.feed_norm(x_NTW))))
        return added


def _whitener(inner_MI: torch.Tensor, keys: int) -> torch.Tensor:
    """Returns the map [d, I] to the activations' principal directions, each brought to size one."""
    values, vectors = torch.linalg.eigh(inner_MI.T @ inner_MI / len(inner_MI))
    kept = values[-keys:].clamp(min=1e-8)
    whitener: torch.Tensor = (vectors[:, -keys:] / (kept + kept[0]).sqrt()).T
    return whitener


def _sharpener(base: BaseModel) -> torch.Tensor:
    """Returns the map [D, D] that brings output embeddings, seen through the final norm, to size one everywhere."""
    gain = base.decoder.norm.weight.detach().float()
    seen = base.model.get_output_embeddings().weight.detach().float() * gain
    values, vectors = torch.linalg.eigh(seen.T @ seen / len(seen))
    inverse = vectors / (values.clamp(min=0) + SHARPNESS * values.mean()) @ vectors.T
    sharpener: torch.Tensor = gain[:, None] * inverse
    return sharpener


def _taken(x_NTW: torch.Tensor, at_NC: torch.Tensor) -> torch.Tensor:
    return x_NTW.gather(1, at_NC[..., None].expand(-1, -1, x_NTW.shape[-1]))


def _rms(x: torch.Tensor) -> torch.Tensor:
    """Returns vectors of root mean square 1."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
