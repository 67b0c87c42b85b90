"""Results of analyses -> figures. Needs matplotlib: `pip install 'paramrag[report]'`."""

from .knowledge import knowledge_figure
from .style import save

__all__ = ["knowledge_figure", "save"]
