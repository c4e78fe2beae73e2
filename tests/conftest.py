"""What every test shares."""

import matplotlib as mpl

mpl.use("Agg")  # no test opens a window

collect_ignore = ["reference/known/log_densities.py"]  # makes reference numbers, and needs mpmath for it
