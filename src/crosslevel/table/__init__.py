"""Files to frames, and frames to columns: the only importer of narwhals, pyreadstat and pyarrow."""

from crosslevel.table.columns import Columns, group_codes
from crosslevel.table.factor import Factor
from crosslevel.table.files import write_atomically
from crosslevel.table.read import read

__all__ = ["Columns", "Factor", "group_codes", "read", "write_atomically"]
