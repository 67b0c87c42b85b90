"""Results of analyses -> figures. Needs matplotlib: `pip install 'paramrag[report]'`."""

from .adapters import collapse_figure, similarity_figure
from .attention import attention_figure
from .explanation import explanation_figure
from .intervention import layers_figure, override_figure
from .knowledge import knowledge_figure
from .style import save

__all__ = [
    "attention_figure",
    "collapse_figure",
    "explanation_figure",
    "knowledge_figure",
    "layers_figure",
    "override_figure",
    "save",
    "similarity_figure",
]
