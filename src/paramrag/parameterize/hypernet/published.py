"""The hypernetwork of DyPRAG (arXiv 2503.23895; code at 8c999be), as its code has it: the baseline that collapses.

One vector stands for the passage: the last layer's state at its last token. For every layer, module and factor an MLP
of its own takes that vector, neither normalised nor centred, with the layer's number appended: Linear without bias to
`width` numbers, ReLU, Linear without bias to the factor. All weights start from N(0, 1e-7).

Shapes: N passages, D model width, W width of the MLPs, L layers, r rank, P numbers per row.
"""

from __future__ import annotations

import torch
from torch import nn

from ...config import Hypernet
from ...models import BaseModel
from ...store.layout import AdapterLayout
from .factors import Factors
from .reading import Readings

START_STD = 1e-7


class LastTokenHypernet(nn.Module):
    """Readings -> adapter rows."""

    def __init__(self, base: BaseModel, layout: AdapterLayout, settings: Hypernet, seed: int) -> None:
        """Starts from random weights."""
        super().__init__()
        self._layout = layout
        model_width = base.model.get_input_embeddings().weight.shape[1]
        generator = torch.Generator().manual_seed(seed)
        layers = len(layout.layers)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * START_STD)

        self.first, self.second = nn.ParameterDict(), nn.ParameterDict()
        for block in layout.blocks():
            name = f"{block.module}_{block.factor}"
            self.first[name] = weights(layers, model_width + 1, settings.width)
            self.second[name] = weights(layers, settings.width, layout.rank * block.shape[2])
        self.register_buffer("numbers", torch.tensor(layout.layers, dtype=torch.float32))

    def factors(self, readings: Readings) -> Factors:
        """Returns the rows' own."""
        return Factors.of(self._layout, self(readings))

    def forward(self, readings: Readings) -> torch.Tensor:
        """Returns adapter rows [N, P]."""
        last = readings.mask.sum(1) - 1
        vector_ND = readings.states[torch.arange(len(last), device=last.device), last, -1]
        numbers = self.numbers.expand(len(vector_ND), -1)  # type: ignore[operator]
        given = torch.cat([vector_ND[:, None].expand(-1, numbers.shape[1], -1), numbers[..., None]], -1)
        row = []
        for block in self._layout.blocks():
            name = f"{block.module}_{block.factor}"
            inner = torch.einsum("nld,ldw->nlw", given, self.first[name]).relu()
            row.append(torch.einsum("nlw,lws->nls", inner, self.second[name]).flatten(1))
        return torch.cat(row, 1)
