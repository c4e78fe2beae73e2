"""What can be made a page of besides fits."""

from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path


class Reportable(ABC):
    """A record that writes a page about itself, such as an analysis."""

    @abstractmethod
    def report(self, path: str | PathLike[str], *, title: str | None = None) -> Path:
        """Write one HTML file with everything.

        Parameters
        ----------
        path : where to write, ending in .html.
        title : of the page; what the record is about if None.

        Returns
        -------
        path : where it was written.
        """
