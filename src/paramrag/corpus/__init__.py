"""Documents: read from files, folders and corpora, and cut into passages."""

from .cutting import CUTTER_VERSION, cut
from .reading import FileRead, Reading, Skipped, read

__all__ = ["CUTTER_VERSION", "FileRead", "Reading", "Skipped", "cut", "read"]
