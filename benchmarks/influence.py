"""Time of leaving out each school, and each pupil, of High School & Beyond: every refit, tables and sentences included.

    python benchmarks/influence.py [--rounds 5]

Writes influence.json and the section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import crosslevel as cl

HERE = Path(__file__).parent
MODEL = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)"
TASKS: dict[str, tuple[str, str | None]] = {
    "160 schools, m-l-1": ("m-l-1", None),
    "160 schools, Satterthwaite": ("satterthwaite", None),
    "7,185 pupils, m-l-1": ("m-l-1", "rows"),
}


def timed(ddf: str, by: str | None) -> tuple[float, int]:
    """CPU seconds of one analysis, and refits."""
    fit = cl.mixed(MODEL, cl.datasets.load("hsb"), ddf=ddf)
    start = time.process_time()
    found = cl.influence(fit, by=by, progress=False)
    str(found)
    count = len(found.frame)
    return time.process_time() - start, count


def section(report: dict[str, Any]) -> str:
    """Section of RESULTS.md."""
    from lab_tables import markdown

    about = report["about"]
    rows = [
        [row["task"], f"{row['refits']:,}", f"{row['cpu']:.3g}", f"{1e3 * row['cpu'] / row['refits']:.3g}"]
        for row in report["rows"]
    ]
    words = f"""# Influence by exact deletion: {about["date"]}

Made by `python benchmarks/influence.py`. Threads: 1; load average {about["load"]:.1f}. High School & Beyond, slopes as
outcomes (7,185 pupils, 160 schools, 6 coefficients, random intercept and slope, REML): `cl.influence(fit)` with
variances, standard errors and degrees of freedom estimated anew without each school or pupil, tables and sentences
included; compiled before it is timed, median of {about["rounds"]} rounds. Target: 1 s for the schools.
"""
    return words + "\n" + markdown(["left out", "refits", "CPU s", "ms each"], rows)


def main() -> None:
    """Time all, and write what was found."""
    from results import write_page

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    for task, (ddf, by) in TASKS.items():
        timed(ddf, None)
        times = [timed(ddf, by) for _ in range(rounds)]
        rows.append({"task": task, "cpu": sorted(each[0] for each in times)[rounds // 2], "refits": times[0][1]})
    about = {"date": date.today().isoformat(), "load": os.getloadavg()[0], "rounds": rounds}
    (HERE / "influence.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    write_page(HERE)


if __name__ == "__main__":
    main()
