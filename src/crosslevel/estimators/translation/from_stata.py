"""Models read from Stata's commands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from crosslevel import residual as structures
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import without_counterpart
from crosslevel.estimators.translation.stata_options import read_options, refuse_rest, top_split, whole_number
from crosslevel.estimators.translation.stata_regressions import read_regression
from crosslevel.estimators.translation.stata_variables import Session, prepare, read_commands, terms
from crosslevel.estimators.translation.translation import Translation
from crosslevel.families import Binomial, Family, Gamma, NegativeBinomial, Ordinal, Poisson
from crosslevel.weights import Frequency, Sampling

FAMILIES: dict[str, Family | None] = {
    "mixed": None, "xtmixed": None, "melogit": Binomial(), "meqrlogit": Binomial(), "xtmelogit": Binomial(),
    "meprobit": Binomial(link="probit"), "mecloglog": Binomial(link="cloglog"), "mepoisson": Poisson(),
    "meqrpoisson": Poisson(), "xtmepoisson": Poisson(), "menbreg": NegativeBinomial(), "meologit": Ordinal(),
    "meoprobit": Ordinal(link="probit"), "meglm": None,
}  # fmt: skip
MEGLM: dict[str, Any] = {
    "bernoulli": Binomial, "binomial": Binomial, "poisson": Poisson, "gamma": Gamma, "ordinal": Ordinal,
    "nbinomial": NegativeBinomial,
}  # fmt: skip
REGRESSIONS = ("regress", "reg", "regres", "regre", "xtreg")
STRUCTURES = {"unstructured": "", "independent": "diag", "exchangeable": "cs"}
DDF = {
    "satterthwaite": "satterthwaite", "kroger": "kenward-roger", "residual": "residual", "repeated": "between-within",
}  # fmt: skip
PREFIXES = re.compile(
    r"(?:by|bys|bysort|svy|mi|bootstrap|bs|jackknife|statsby|rolling|permute|simulate|nestreg|stepwise|fp)\b"
)
"""Words before a colon and a command, that run it several times or estimate something else."""

ME_NODES = 7
"""Integration points of the me commands, unless they say otherwise."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A part behind ||.

    Attributes
    ----------
    group : the variable before the colon; "_all" for all rows.
    slopes : what stands behind it.
    options : behind the comma, that belong to the level.
    """

    group: str
    slopes: str
    options: Mapping[str, str] = field(default_factory=dict)


def from_stata(commands: str) -> Translation:
    """Read a model from Stata's commands: y = X beta + Z b + e with b ~ N(0, Psi) by level.

    Read are mixed, xtmixed, melogit, meprobit, mecloglog, mepoisson, menbreg, meologit, meoprobit, meglm, regress and
    xtreg, the last of the commands being the model. Those before may make variables: egen ... = mean(x), by(g);
    generate; summarize with r(mean); encode; egen ... = group(a b); xtset.

    Parameters
    ----------
    commands : one command, or several lines of a do-file.

    Returns
    -------
    Translation : with the formula, the arguments, the call, notes, and `fit(data)`.

    Raises
    ------
    CrosslevelError : a command or an option without counterpart; the message says which and what to do.

    Source
    ------
    StataCorp (2023), Stata 18 Multilevel Mixed-Effects Reference Manual, mixed and me; Stata 18 User's Guide, 11.4.3
    (factor variables).

    Examples
    --------
    >>> import crosslevel as cl
    >>> print(cl.from_stata("mixed y c.x##i.z || g: x, cov(unstructured) reml"))
    cl.mixed("y ~ x + C(z) + x:C(z) + (1 + x | g)", data, method="reml")
    # Stata reports z statistics here; ddf="normal" does, too, but is too sure of itself where clusters are few
    """
    if not isinstance(commands, str) or not commands.strip():
        got = "nothing" if isinstance(commands, str) else type(commands).__name__
        raise CrosslevelError(f"`commands` is text such as 'mixed y x || g: x, cov(unstructured) reml'; got {got}.")
    lines = [_without_prefix(line) for line in read_commands(commands)]
    places = [k for k, line in enumerate(lines) if _first(line) in (*FAMILIES, *REGRESSIONS)]
    if not places:
        known = ", ".join([*FAMILIES, "regress", "xtreg"])
        last = f"Its last command is {shorten(lines[-1], 80)!r}." if lines else "It has comments only."
        raise CrosslevelError(f"`commands` has none of the models that are read: {known}. {last}")
    if len(places) > 1:
        raise CrosslevelError(f"`commands` has {len(places)} models; give them one by one.")
    session = Session()
    for line in lines[: places[0]]:
        prepare(line, session)
    line = lines[places[0]]
    if _first(line) in REGRESSIONS:
        return read_regression(line, commands, session)
    return _read_mixed(line, commands, session)


def _without_prefix(line: str) -> str:
    """A command without what changes nothing in its model, as quietly, capture or xi.

    Raises
    ------
    CrosslevelError : a prefix that makes other estimates, as svy or mi estimate.
    """
    line = re.sub(
        r"^(?:(?:(?:quietly|qui|noisily|noi|capture|cap)\b:?|(?:xi|version [\d.]+|eststo\b[^:|]*):)\s*)+", "", line
    )
    prefix, colon, command = line.partition(":")
    if colon and PREFIXES.match(prefix) and _first(command.strip()) in (*FAMILIES, *REGRESSIONS):
        raise without_counterpart(
            f"the prefix {prefix.strip()!r}", "Leave it out here, and loop over the subsets, imputations or samples."
        )
    return line


def _first(line: str) -> str:
    """The name of a command."""
    found = re.match(r"\w+", line)
    return found[0] if found else ""


def _read_mixed(line: str, source: str, session: Session) -> Translation:
    """A multilevel model."""
    command = _first(line)
    head, *others = [part.strip() for part in top_split(line[len(command) :], "||")]
    main, options = read_options(head)
    levels: list[Level] = []
    for other in others:
        text, own = read_options(other)
        group, _, slopes = text.partition(":")
        local = {
            name: own.pop(name) for name in list(own) if name in ("noconstant", "covariance", "fweight", "pweight")
        }
        own.pop("collinear", None)
        options.update(own)
        if ":" not in text or not group.strip().isidentifier():
            raise CrosslevelError(f"Stata's {other!r} behind || names no level: write || group: slopes, options.")
        levels.append(Level(group=group.strip(), slopes=slopes.strip(), options=local))
    outcome, rest, weight = _main(main)
    fixed = terms(rest, session)
    intercept = "0" if "noconstant" in options else ("1" if not fixed else "")
    options.pop("noconstant", None)
    arguments = _arguments(command, options, levels, weight, session)
    random, groups = _random(levels, session)
    quadrature = _quadrature("family" in arguments, options, groups)
    arguments |= quadrature
    notes = [*session.variables.notes, *_notes(command, arguments, groups, quadrature)]
    level = whole_number(options.pop("level", ""), "level", 95) / 100.0
    refuse_rest(options)
    if not random and "residual" not in arguments:
        raise CrosslevelError(
            f"Stata's {shorten(line, 80)!r} has no random effects: write || group:, or regress for a regression."
        )
    formula = f"{session.variables.text(outcome)} ~ {' + '.join(filter(None, [intercept, *fixed, *random]))}"
    return Translation(formula=formula, arguments=arguments, source=source, notes=tuple(notes), level=level)


def _main(text: str) -> tuple[str, str, tuple[str, str] | None]:
    """Outcome, predictors, and kind and variable of a weight."""
    weight = None
    found = re.search(r"\[\s*(\w+)\s*=\s*(\w+)\s*\]", text)
    if found:
        weight = (found[1], found[2])
        text = text[: found.start()] + text[found.end() :]
    if re.search(r"\s(if|in)\s", f" {text} "):
        raise CrosslevelError(f"Stata's {text.strip()!r} takes some of the rows (if, in): filter the data first.")
    outcome, _, rest = text.strip().partition(" ")
    if not outcome.isidentifier():
        raise CrosslevelError(f"Stata's command has no outcome that can be read: {text.strip()!r}.")
    return outcome, rest, weight


def _random(levels: list[Level], session: Session) -> tuple[list[str], list[tuple[str, ...]]]:
    """Random terms; each level is nested in those before."""
    outer: tuple[str, ...] = ()
    found: list[str] = []
    groups: list[tuple[str, ...]] = []
    for place, level in enumerate(levels):
        is_all = level.group == "_all"
        if not is_all and (place == 0 or level.group != levels[place - 1].group):
            own = session.variables.group([level.group])
            outer = own if set(outer) <= set(own) else (*outer, *own)
        here = () if is_all else outer
        crossed = re.fullmatch(r"R\.(\w+)", level.slopes)
        if crossed:
            group = (*here, *session.variables.group([crossed[1]]))
            found.append(f"(1 | {_joined(group)})")
            groups.append(group)
            continue
        if is_all:
            if level.slopes or "noconstant" not in level.options:
                raise without_counterpart("random effects over _all", "One group has no variance between groups.")
            continue
        term = _term(level, here, session)
        found += [term] if term else []
        groups += [here] if term else []
    return found, groups


def _joined(group: tuple[str, ...]) -> str:
    """A group in a formula."""
    from crosslevel.formula.expressions import quoted

    return ":".join(quoted(name) for name in group)


def _term(level: Level, group: tuple[str, ...], session: Session) -> str:
    """A random term; empty for a level that has none."""
    slopes = terms(level.slopes, session)
    has = "noconstant" not in level.options
    effects = [*(["1"] if has else []), *slopes]
    if not effects:
        return ""
    asked = level.options.get("covariance", "independent") or "independent"
    full = next((name for name in (*STRUCTURES, "identity") if name.startswith(asked[:3])), asked)
    if len(effects) == 1:
        return f"({'1' if has else f'0 + {slopes[0]}'} | {_joined(group)})"
    if full not in STRUCTURES:
        raise without_counterpart(
            f"covariance({asked}) of {len(effects)} random effects", "Use independent, exchangeable or unstructured."
        )
    inside = " + ".join(effects if has else ["0", *slopes])
    return f"{STRUCTURES[full]}({inside} | {_joined(group)})"


def _arguments(
    command: str, options: dict[str, str], levels: list[Level], weight: tuple[str, str] | None, session: Session
) -> dict[str, Any]:
    """Arguments of `mixed`."""
    found: dict[str, Any] = {}
    family = _family(command, options)
    if family is None:
        found["method"] = "reml" if "reml" in options else "ml"
    else:
        found["family"] = family
    options.pop("reml", None)
    options.pop("mle", None)
    weights = _weights(options, levels, weight, session)
    if weights is not None:
        found["weights"] = weights
    for name, argument in (("offset", "offset"), ("exposure", "exposure"), ("binomial", "trials")):
        if name in options:
            found[argument] = options.pop(name)
            found[argument] = int(found[argument]) if found[argument].isdigit() else found[argument]
    if "residuals" in options:
        structure = _residual(options.pop("residuals"), levels, session)
        if structure is not None:
            found["residual"] = structure
    if "dfmethod" in options:
        asked = options.pop("dfmethod").split(",")[0].strip()
        full = next((name for name in DDF if name.startswith(asked[:3])), None)
        if full is None or not asked:
            raise without_counterpart(f"dfmethod({asked})", f"Use one of {', '.join(DDF)}.")
        found["ddf"] = DDF[full]
    if options.get("vce", "oim") == "oim":
        options.pop("vce", None)
    else:
        raise without_counterpart(
            f"vce({options['vce']}) beside random effects in one call", 'Leave it out, and ask fit.robust("CR2").'
        )
    return found


def _family(command: str, options: dict[str, str]) -> Any:
    """The family; its name where the link is the usual one."""
    family = FAMILIES[command]
    if command == "meglm":
        family = _named_family(options)
    if isinstance(family, NegativeBinomial) and options.pop("dispersion", "mean").startswith("c"):
        return NegativeBinomial(variant="nb1")
    if family is None or family != type(family)():
        return family
    return family.name


def _named_family(options: dict[str, str]) -> Family | None:
    """The family of meglm, by its options; None for the normal distribution."""
    name, *more = options.pop("family", "gaussian").split() or [""]
    link = options.pop("link", "")
    make = next((made for full, made in MEGLM.items() if len(name) > 1 and full.startswith(name)), None)
    usual = {Poisson: "log", Gamma: "log", NegativeBinomial: "log", None: "identity"}
    if (
        not name
        or (make is None and not "gaussian".startswith(name))
        or (make in usual and link not in ("", usual[make]))
    ):
        raise without_counterpart(f"meglm's family({name}) link({link})", "Use another family or link.")
    if more and make is Binomial:
        options["binomial"] = more[0]
    elif more and make is NegativeBinomial:
        options["dispersion"] = more[0]
    if make is None:
        return None
    family: Family = make(link=link) if link and make not in usual else make()
    return family


def _weights(
    options: dict[str, str], levels: list[Level], weight: tuple[str, str] | None, session: Session
) -> Sampling | Frequency | None:
    """Weights of rows and clusters."""
    scaling = options.pop("pwscale", "none")
    clusters: dict[str, str] = {}
    outer: tuple[str, ...] = ()
    for level in levels:
        if level.group != "_all":
            own = session.variables.group([level.group])
            outer = own if set(outer) <= set(own) else (*outer, *own)
        if "fweight" in level.options:
            raise without_counterpart("frequency weights of clusters", "Repeat the clusters in the data.")
        if "pweight" in level.options:
            clusters[":".join(outer)] = level.options["pweight"]
    kind, column = weight or ("pweight", "")
    if kind.startswith("f") and not clusters:
        return Frequency(column)
    if not (kind.startswith("p") or (kind == "iweight" and clusters)):
        raise without_counterpart(f"[{kind} = {column}] in a multilevel model", "Use pweight or fweight.")
    if scaling not in ("none", "size", "effective"):
        raise without_counterpart(f"pwscale({scaling})", "Use size or effective.")
    return Sampling(column or None, clusters=clusters, scaling=scaling) if column or clusters else None  # type: ignore[arg-type]


def _residual(text: str, levels: list[Level], session: Session) -> structures.ResidualStructure | None:
    """The option residuals()."""
    kind, inner = read_options(text)
    by, time = inner.get("by"), inner.get("t")
    name, _, order = kind.partition(" ")
    if not levels:
        raise CrosslevelError(f"Stata's residuals({text}) needs a level that they are within: write || group:.")
    within = ":".join(session.variables.group([levels[-1].group])) if levels and levels[-1].group != "_all" else ""
    strata = ":".join(session.variables.group([by])) if by else None
    if name.startswith("ind"):
        return structures.By(strata) if strata else None
    if strata:
        raise without_counterpart(f"residuals({text})", "own correlations by strata are not there; leave by() out.")
    if name.startswith("ar") and time and (order or name.removeprefix("ar") or "1").strip() == "1":
        return structures.AR1(time, within=within)
    if name.startswith("exp") and time:
        return structures.CAR1(time, within=within)
    if name.startswith("ex"):
        return structures.CompoundSymmetry(within=within)
    if name.startswith("un") and time:
        return structures.Unstructured(time, within=within)
    raise without_counterpart(
        f"residuals({text})", "Those read are independent, ar 1, exponential, exchangeable, unstructured."
    )


def _quadrature(generalized: bool, options: dict[str, str], groups: list[tuple[str, ...]]) -> dict[str, Any]:
    """How the random effects are integrated out."""
    method, points = options.pop("intmethod", ""), options.pop("intpoints", "")
    laplace = "laplace" in options or method.startswith("lap")
    options.pop("laplace", None)
    if not generalized:
        return {}
    if laplace or points == "1":
        return {"quadrature": 1}
    return {"quadrature": whole_number(points, "intpoints", ME_NODES)} if len(set(groups)) == 1 else {}


def _notes(
    command: str, arguments: dict[str, Any], groups: list[tuple[str, ...]], quadrature: dict[str, Any]
) -> list[str]:
    """What is good to know."""
    notes = []
    if "family" not in arguments and "ddf" not in arguments and groups:
        notes.append(
            'Stata reports z statistics here; ddf="normal" does, too, but is too sure of itself where clusters are few'
        )
    if command == "xtmixed" and arguments["method"] == "ml":
        notes.append('Stata 11 and before fitted xtmixed by REML unless told otherwise: method="reml"')
    if "family" in arguments and not quadrature:
        notes.append("Stata integrates by quadrature at every level; here several factors are integrated by Laplace")
    return notes
