"""What can be made a page of besides fits."""

from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path


class Reportable(ABC):
    """A record that writes a page about itself, such as an analysis."""

    @abstractmethod
    def report(self, path: str | PathLike[str], *, title: str | None = None, data: bool = False) -> Path:
        """Write one HTML file with everything, or a bundle with all it was made of.

        Parameters
        ----------
        path : where to write, ending in .html or .zip.
        title : of the page; what the record is about if None.
        data : whether a bundle holds the rows and columns that were used.

        Returns
        -------
        path : where it was written.
        """
