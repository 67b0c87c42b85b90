"""Runs on disk -> figures, Markdown tables and one HTML page. Needs the extra `report`; never imports torch."""

from .cells import Cell, read_cells
from .page import Report, report

__all__ = ["Cell", "Report", "read_cells", "report"]
