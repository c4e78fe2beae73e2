"""Candidates as frames."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.selection.reasons import reason_of
from crosslevel.selection.routine import Round
from crosslevel.selection.search import Candidate

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection


def candidate_table(selection: "Selection") -> pd.DataFrame:
    """What `Selection.candidates` shows; see there."""
    return pd.DataFrame.from_records(list(_rows(selection)))


def path_table(selection: "Selection") -> pd.DataFrame:
    """What `Selection.path` shows; see there."""
    table = selection.candidates
    baselines = table[table["role"] == "baseline"]
    last = table[(table["step"] == selection.rounds[-1].step) & table["chosen"]].tail(1)
    rows = pd.concat([baselines, last[last["role"] == "candidate"]])
    return rows.drop(columns=["role", "chosen"]).reset_index(drop=True)


def _rows(selection: "Selection") -> Iterator[dict[str, Any]]:
    """Rows of the table: the maximal model, then for each round its baseline and its candidates."""
    search = selection.search
    whole = search.candidate(search.maximal_structure)
    reason = "the maximal model, where the search starts"
    yield _row(selection, None, whole, whole, "baseline", "", chosen=False, reason=reason)
    for found in selection.rounds:
        for candidate, dropped in ((found.baseline, ""), *found.candidates):
            is_baseline = candidate is found.baseline
            yield _row(
                selection, found, candidate, found.baseline, "baseline" if is_baseline else "candidate", dropped,
                chosen=candidate is found.chosen, reason=reason_of(selection, found, candidate, dropped),
            )  # fmt: skip


def _row(
    selection: "Selection",
    found: Round | None,
    candidate: Candidate,
    baseline: Candidate,
    role: str,
    dropped: str,
    *,
    chosen: bool,
    reason: str,
) -> dict[str, Any]:
    """One row."""
    step = 0 if found is None else found.step
    judge = selection.judge_in(step)
    value = judge.value(candidate, baseline)
    return (
        {
            "step": step,
            "round": 1 if found is None else found.number,
            "role": role,
            "dropped": dropped,
            "structure": candidate.structure.words,
            "n_effects": candidate.structure.n_effects,
            "n_correlations": candidate.structure.n_correlations,
            "n_params": candidate.n_params,
            "deviance": candidate.deviance,
            "criterion": value,
            "delta": judge.delta(candidate, baseline),
            "rank": candidate.rank,
            "converged": candidate.converged,
            "chosen": chosen,
            "reason": reason,
        }
        | selection.judge.columns(candidate)
        | context_effects(selection, candidate)
    )


def context_effects(selection: "Selection", candidate: Candidate) -> dict[str, float]:
    """Estimate, standard error and interval of each context effect, by name of the column."""
    places = list(selection.search.context)
    estimate, std_error = candidate.beta[places], np.sqrt(np.diag(candidate.vcov)[places])
    half = selection.search.quantiles * std_error
    out: dict[str, float] = {}
    for name, b, s, h in zip(selection.context, estimate, std_error, half, strict=True):
        values = {"estimate": b, "std_error": s, "conf_low": b - h, "conf_high": b + h}
        out |= {f"{name} {what}": float(value) for what, value in values.items()}
    return out
