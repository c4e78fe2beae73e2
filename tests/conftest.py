"""What every test shares."""

import matplotlib as mpl

mpl.use("Agg")  # no test opens a window
