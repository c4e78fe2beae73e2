"""Makes the files of `crosslevel.datasets` from the reference data: python tests/make_datasets.py.

The wording of the variable labels is decided here.
"""

from datetime import datetime
from pathlib import Path

import pandas as pd

REFERENCE = Path(__file__).parent / "reference" / "data"
DATASETS = Path(__file__).parents[1] / "src" / "crosslevel" / "datasets"

HSB_LABELS = {
    "school": "School",
    "minority": "Minority pupil (1 = yes, 0 = no)",
    "female": "Female pupil (1 = yes, 0 = no)",
    "ses": "Socio-economic status (standardised score)",
    "mathach": "Mathematics achievement (score)",
    "meanses": "Mean socio-economic status of the school's pupils",
    "sector": "School sector",
}
SLEEPSTUDY_LABELS = {
    "Reaction": "Average reaction time (ms)",
    "Days": "Day of the study (0 to 9)",
    "Subject": "Subject",
}


def hsb() -> pd.DataFrame:
    """High School & Beyond under the names of Raudenbush & Bryk; school ids are text, not quantities."""
    source = pd.read_csv(REFERENCE / "Hsb82.csv", dtype={"school": str})
    return pd.DataFrame(
        {
            "school": source["school"],
            "minority": (source["minrty"] == "Yes").astype("int8"),
            "female": (source["sx"] == "Female").astype("int8"),
            "ses": source["ses"],
            "mathach": source["mAch"],
            "meanses": source["meanses"],
            "sector": pd.Categorical(source["sector"], categories=["Public", "Catholic"]),
        }
    )


def sleepstudy() -> pd.DataFrame:
    """The sleep study under the names of lme4."""
    source = pd.read_csv(REFERENCE / "sleepstudy.csv", dtype={"Subject": str})
    return source[["Reaction", "Days", "Subject"]].astype({"Days": "int8"})


def write(frame: pd.DataFrame, name: str, labels: dict[str, str]) -> None:
    """One Stata file; the fixed time stamp makes it the same on every run."""
    frame.to_stata(
        DATASETS / f"{name}.dta",
        write_index=False,
        version=118,
        variable_labels=labels,
        time_stamp=datetime(2026, 1, 1),
    )


if __name__ == "__main__":
    write(hsb(), "hsb", HSB_LABELS)
    write(sleepstudy(), "sleepstudy", SLEEPSTUDY_LABELS)
