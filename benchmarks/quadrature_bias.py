"""How far approximations of the likelihood are from the truth with few binary answers per cluster.

    python benchmarks/quadrature_bias.py [--reps 400] [--jobs 2]

Draws binary outcomes of 200 clusters of 2, 3 and 4 rows, logit y = -.5 + x + .5 z + u, SD(u) being 1 or 2.5, and fits
them by MQL, PQL, Laplace's approximation and adaptive quadrature. Writes quadrature_bias.csv and prints the table of
docs/quadrature.md.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

import crosslevel as cl

HERE = Path(__file__).parent
CLUSTERS, TRUTH = 200, {"Intercept": -0.5, "x": 1.0, "z": 0.5}
SIZES, SDS = (2, 3, 4), (1.0, 2.5)
METHODS: dict[str, object] = {"MQL": "mql", "PQL": "pql", "Laplace": 1, "quadrature": "auto"}


def draw(size: int, sd: float, seed: int) -> pd.DataFrame:
    """One data set."""
    rng = np.random.default_rng([seed, size, int(10 * sd)])
    code = np.repeat(np.arange(CLUSTERS), size)
    x, z = rng.standard_normal(len(code)), rng.standard_normal(CLUSTERS)[code]
    eta = TRUTH["Intercept"] + TRUTH["x"] * x + TRUTH["z"] * z + sd * rng.standard_normal(CLUSTERS)[code]
    y = (rng.random(len(code)) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "z": z, "g": code})


def replicate(size: int, sd: float, seed: int) -> list[dict[str, object]]:
    """Estimates of all methods for one data set."""
    data, rows = draw(size, sd, seed), []
    for name, quadrature in METHODS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = cl.mixed("y ~ x + z + (1 | g)", data, family="binomial", quadrature=quadrature)
        estimate = {**fit.params.to_dict(), "SD": float(np.sqrt(fit.cov_re["g"].iloc[0, 0]))}
        error = fit.bse.to_dict()
        for what, value in estimate.items():
            rows.append({
                "size": size, "sd": sd, "seed": seed, "method": name, "parameter": what, "estimate": value,
                "std_error": error.get(what, np.nan), "converged": fit.converged, "warnings": len(caught),
            })  # fmt: skip
    return rows


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Mean estimate with its Monte Carlo error, and coverage of Wald intervals, by condition, method and parameter."""
    truth = found["parameter"].map(TRUTH).fillna(found["sd"])
    near = ((found["estimate"] - truth) / found["std_error"]).abs() < 1.959963984540054
    found = found.assign(truth=truth, covered=near.where(found["std_error"].notna()).astype(float))
    by = found.groupby(["sd", "size", "method", "parameter"], sort=False)
    return by.agg(
        truth=("truth", "first"), mean=("estimate", "mean"), mcse=("estimate", "sem"), coverage=("covered", "mean"),
        converged=("converged", "mean"), reps=("estimate", "size"),
    ).reset_index()  # fmt: skip


def table(frame: pd.DataFrame) -> str:
    """Markdown: one row for each condition and method."""
    lines = [
        "| SD | rows per cluster | method | x, truth 1 | z, truth .5 | SD | 95 % interval of x covers |",
        "|---|---|---|---|---|---|---|",
    ]
    for (sd, size, method), part in frame.groupby(["sd", "size", "method"], sort=False):
        row = part.set_index("parameter")
        cells = [f"{row.loc[k, 'mean']:.2f} ({row.loc[k, 'mcse']:.2f})" for k in ("x", "z", "SD")]
        lines.append(
            f"| {sd} | {size} | {method} | " + " | ".join(cells) + f" | {100 * row.loc['x', 'coverage']:.0f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    cases = [(size, sd, seed) for sd in SDS for size in SIZES for seed in range(asked.reps)]
    parts = Parallel(n_jobs=asked.jobs, batch_size=20)(delayed(replicate)(*case) for case in cases)
    frame = summary(pd.DataFrame([row for part in parts for row in part]))
    frame.to_csv(HERE / "quadrature_bias.csv", index=False, float_format="%.6g")
    print(table(frame))


if __name__ == "__main__":
    main()
