"""Stata's regress and xtreg."""

import re
from typing import Any

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import without_counterpart
from crosslevel.estimators.translation.stata_options import whole_number
from crosslevel.estimators.translation.stata_variables import Session, terms
from crosslevel.estimators.translation.translation import Estimator, Translation
from crosslevel.weights import Frequency, Precision

SHOWN = {"level", "beta", "noheader", "nolog", "base", "noomitted", "baselevels"}


def read_regression(line: str, source: str, session: Session) -> Translation:
    """Regress or xtreg."""
    command, _, rest = line.partition(" ")
    text, _, behind = rest.partition(",")
    options = {name: inner.strip() for name, inner in re.findall(r"(\w+)(?:\(((?:[^()]|\([^()]*\))*)\))?", behind)}
    weight = re.search(r"\[\s*(\w+)\s*=\s*(\w+)\s*\]", text)
    text = text[: weight.start()] + text[weight.end() :] if weight else text
    if re.search(r"\s(if|in)\s", f" {text} "):
        raise CrosslevelError(f"Stata's {text.strip()!r} takes some of the rows (if, in): filter the data first.")
    outcome, _, predictors = text.strip().partition(" ")
    if not outcome.isidentifier():
        raise CrosslevelError(f"Stata's command has no outcome that can be read: {line!r}.")
    fixed = terms(predictors, session)
    none = "noconstant" in options or "nocons" in options
    options = {name: inner for name, inner in options.items() if name not in ("noconstant", "nocons")}
    level = whole_number(options.get("level", ""), "level", 95) / 100.0
    formula = f"{session.variables.text(outcome)} ~ {' + '.join([*(['0'] if none else []), *fixed]) or '1'}"
    if command == "xtreg":
        estimator, formula, arguments = _panel(formula, options, session)
        if weight:
            raise without_counterpart(f"{weight[0]} in xtreg", "Use regress or mixed.")
    else:
        estimator, arguments = "ols", _covariance(options, session)
        arguments |= _weighted(weight)
    return Translation(
        formula=formula, estimator=estimator, arguments=arguments, source=source, level=level,
        notes=tuple(session.variables.notes),
    )  # fmt: skip


def _weighted(weight: "re.Match[str] | None") -> dict[str, Any]:
    """Weights of regress."""
    if weight is None:
        return {}
    kind, column = weight[1], weight[2]
    if kind.startswith("f"):
        return {"weights": Frequency(column)}
    if kind.startswith("a"):
        return {"weights": Precision(column)}
    raise without_counterpart(f"[{kind} = {column}] in regress", "For sampling weights use mixed with pweight.")


def _covariance(options: dict[str, str], session: Session) -> dict[str, Any]:
    """Standard errors of regress."""
    rest = {name: inner for name, inner in options.items() if name not in SHOWN}
    if "cluster" in rest:
        rest["vce"] = f"cluster {rest.pop('cluster')}"
    if rest.pop("robust", rest.pop("r", None)) is not None:
        rest["vce"] = "robust"
    asked = rest.pop("vce", "ols")
    if rest:
        raise without_counterpart(f"the option {next(iter(rest))} of regress", "Leave it out if it changes nothing.")
    kind, *names = re.split(r"[\s,]+", asked)
    clusters = [name for name in names if name != "dfadjust"]
    if kind.startswith("cl"):
        groups = [":".join(session.variables.group([name])) for name in clusters]
        return {"cluster": groups[0] if len(groups) == 1 else groups, "vcov": "CR1S"}
    if kind in ("hc2", "hc3") and clusters:
        return {"cluster": ":".join(session.variables.group(clusters)), "vcov": "CR2" if kind == "hc2" else "CR3"}
    kinds = {"robust": "HC1", "r": "HC1", "hc2": "HC2", "hc3": "HC3"}
    if kind not in kinds and kind != "ols":
        raise without_counterpart(f"vce({asked})", "Use ols, robust, hc2, hc3 or cluster.")
    return {"vcov": kinds[kind]} if kind in kinds else {}


def _panel(formula: str, options: dict[str, str], session: Session) -> tuple[Estimator, str, dict[str, Any]]:
    """Estimator and arguments of xtreg."""
    group = options.pop("i", None) or (session.panel[0] if session.panel else None)
    if group is None:
        raise CrosslevelError("Stata's xtreg has no group here: give i(id), or the command xtset id before it.")
    group = ":".join(session.variables.group([group]))
    arguments: dict[str, Any] = {"group": group}
    asked = options.pop("vce", None) or (f"cluster {options['cluster']}" if "cluster" in options else None)
    asked = asked or ("robust" if "robust" in options else None)
    options = {name: inner for name, inner in options.items() if name not in ("cluster", "robust", *SHOWN, "re")}
    kind = next((name for name in ("fe", "be", "mle", "ml", "pa") if name in options), "re")
    options.pop(kind, None)
    if options or kind == "pa":
        raise without_counterpart(f"xtreg's option {next(iter(options), kind)}", "Those read are fe, re, be and mle.")
    if kind in ("mle", "ml"):
        return "mixed", f"{formula} + (1 | {group})", {"method": "ml"}
    if asked and not asked.startswith("conv"):
        _refuse_clusters(asked, group, session)
        arguments["vcov"] = "CR1S" if kind == "re" else "CR1"
    estimators: dict[str, Estimator] = {"fe": "fixed_effects", "be": "between", "re": "random_effects"}
    return estimators[kind], formula, arguments


def _refuse_clusters(asked: str, group: str, session: Session) -> None:
    """Refuse standard errors of xtreg that are clustered by something else than its group, and other kinds of them.

    Raises
    ------
    CrosslevelError : they are not those of the group.
    """
    kind, *clusters = asked.split()
    if kind in ("r", "robust"):
        return
    if not kind.startswith("cl") or ":".join(session.variables.group(clusters)) != group:
        raise without_counterpart(f"vce({asked}) in xtreg", f"Those read are conventional, robust and cluster {group}.")
