"""Files to frames, and frames to columns: the only importer of narwhals, pyreadstat and pyarrow."""

from crosslevel.table.batches import open_source, used_index
from crosslevel.table.columns import Columns, group_codes, group_names
from crosslevel.table.factor import Factor
from crosslevel.table.files import write_atomically
from crosslevel.table.read import read

__all__ = ["Columns", "Factor", "group_codes", "group_names", "open_source", "read", "used_index", "write_atomically"]
