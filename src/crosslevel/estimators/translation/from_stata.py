"""Models read from Stata's commands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crosslevel import residual as structures
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import without_counterpart
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
REGRESSIONS = ("regress", "reg", "regres", "regre", "xtreg")
STRUCTURES = {"unstructured": "", "independent": "diag", "exchangeable": "cs"}
DDF = {
    "satterthwaite": "satterthwaite", "kroger": "kenward-roger", "residual": "residual", "repeated": "between-within",
}  # fmt: skip
SHOWN = {
    "nolog", "variance", "var", "stddeviations", "stddev", "or", "irr", "eform", "nofetable", "noretable", "noheader",
    "nogroup", "nolrtest", "iterate", "difficult", "emiterate", "technique", "dftable", "startvalues", "from", "emonly",
    "log", "nostderr", "coeflegend", "base", "allbaselevels", "tolerance", "matlog", "matsqrt", "collinear",
}  # fmt: skip
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
        raise CrosslevelError("`commands` is text such as 'mixed y x || g: x, cov(unstructured) reml'; got nothing.")
    lines = [re.sub(r"^(?:(?:quietly|qui|noisily|noi|capture|cap)\s+)+", "", line) for line in read_commands(commands)]
    places = [k for k, line in enumerate(lines) if _first(line) in (*FAMILIES, *REGRESSIONS)]
    if not places:
        known = ", ".join([*FAMILIES, "regress", "xtreg"])
        raise CrosslevelError(f"`commands` has none of the models that are read: {known}. It has {lines[-1:]}.")
    if len(places) > 1:
        raise CrosslevelError(f"`commands` has {len(places)} models; give them one by one.")
    session = Session()
    for line in lines[: places[0]]:
        prepare(line, session)
    line = lines[places[0]]
    if _first(line) in REGRESSIONS:
        return read_regression(line, commands, session)
    return _read_mixed(line, commands, session)


def _first(line: str) -> str:
    """The name of a command."""
    found = re.match(r"\w+", line)
    return found[0] if found else ""


def _read_mixed(line: str, source: str, session: Session) -> Translation:
    """A multilevel model."""
    command = _first(line)
    head, *others = [part.strip() for part in _top_split(line[len(command) :], "||")]
    main, options = _options(head)
    levels: list[Level] = []
    for other in others:
        text, own = _options(other)
        group, _, slopes = text.partition(":")
        local = {
            name: own.pop(name) for name in list(own) if name in ("noconstant", "covariance", "fweight", "pweight")
        }
        own.pop("collinear", None)
        options.update(own)
        if ":" not in text or not group.strip():
            raise CrosslevelError(f"Stata's {other!r} behind || names no level: write || group: slopes, options.")
        levels.append(Level(group=group.strip(), slopes=slopes.strip(), options=local))
    outcome, rest, weight = _main(main)
    fixed = terms(rest, session)
    intercept = "0" if "noconstant" in options else ("1" if not fixed else "")
    options.pop("noconstant", None)
    arguments = _arguments(command, options, levels, weight, session)
    random, groups = _random(levels, session)
    quadrature = _quadrature(command, options, groups)
    arguments |= quadrature
    notes = [*session.variables.notes, *_notes(command, arguments, groups, quadrature)]
    level = float(options.pop("level", "95")) / 100.0
    _refuse_rest(options)
    formula = f"{session.variables.text(outcome)} ~ {' + '.join(filter(None, [intercept, *fixed, *random]))}"
    return Translation(formula=formula, arguments=arguments, source=source, notes=tuple(notes), level=level)


def _top_split(text: str, mark: str) -> list[str]:
    """Split at a mark outside parentheses and quotes."""
    pieces, depth, current, k = [], 0, "", 0
    while k < len(text):
        depth += (text[k] in "([") - (text[k] in ")]")
        if depth == 0 and text.startswith(mark, k):
            pieces.append(current)
            current, k = "", k + len(mark)
            continue
        current, k = current + text[k], k + 1
    return [*pieces, current]


NAMES = {
    "cov": "covariance", "nocons": "noconstant", "noconst": "noconstant", "resid": "residuals", "residual": "residuals",
    "res": "residuals", "restricted": "reml", "ml": "mle", "mlestimation": "mle", "dfm": "dfmethod",
    "disp": "dispersion", "exp": "exposure", "off": "offset", "intp": "intpoints", "intm": "intmethod",
    "fam": "family", "l": "link", "bin": "binomial", "lev": "level", "vce": "vce", "pwscale": "pwscale",
}  # fmt: skip


def _options(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the comma, and the options behind it by their full names."""
    pieces = _top_split(text, ",")
    found: dict[str, str] = {}
    for name, inner in re.findall(r"(\w+)(?:\(((?:[^()]|\([^()]*\))*)\))?", ",".join(pieces[1:])):
        full = next((full for short, full in NAMES.items() if name == short), None)
        if full is None:
            full = next((known for known in NAMES.values() if len(name) >= 3 and known.startswith(name)), name)
        found[full] = inner.strip()
    return pieces[0].strip(), found


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
    if not re.fullmatch(r"\w+", outcome):
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
        if full is None:
            raise without_counterpart(f"dfmethod({asked})", f"Use one of {', '.join(DDF)}.")
        found["ddf"] = DDF[full]
    if "vce" in options:
        raise without_counterpart(
            f"vce({options['vce']}) beside random effects in one call", 'Leave it out, and ask fit.robust("CR2").'
        )
    return found


def _family(command: str, options: dict[str, str]) -> Any:
    """The family; its name where the link is the usual one."""
    family = FAMILIES[command]
    if command == "meglm":
        name, link = options.pop("family", "gaussian").split()[0], options.pop("link", "")
        known = {"bernoulli": Binomial, "binomial": Binomial, "poisson": Poisson, "gamma": Gamma, "ordinal": Ordinal}
        if name.startswith("gau"):
            return None
        make = next((cls for full, cls in known.items() if full.startswith(name[:3])), None)
        if make is None or (make is Gamma and link not in ("", "log")):
            raise without_counterpart(f"meglm's family({name}) link({link})", "Use another family or link.")
        family = make() if not link or make in (Poisson, Gamma) else make(link=link)
    if isinstance(family, NegativeBinomial) and options.pop("dispersion", "mean").startswith("c"):
        return NegativeBinomial(variant="nb1")
    if family is None or family != type(family)():
        return family
    return family.name


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
    kind, inner = _options(text)
    by, time = inner.get("by"), inner.get("t")
    name, _, order = kind.partition(" ")
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
    if name.startswith("exc"):
        return structures.CompoundSymmetry(within=within)
    if name.startswith("un") and time:
        return structures.Unstructured(time, within=within)
    raise without_counterpart(
        f"residuals({text})", "Those read are independent, ar 1, exponential, exchangeable, unstructured."
    )


def _quadrature(command: str, options: dict[str, str], groups: list[tuple[str, ...]]) -> dict[str, Any]:
    """How the random effects are integrated out."""
    method, points = options.pop("intmethod", ""), options.pop("intpoints", "")
    options.pop("laplace", None)
    if FAMILIES[command] is None and command != "meglm":
        return {}
    if method.startswith("lap") or points == "1":
        return {"quadrature": 1}
    return {"quadrature": int(points or ME_NODES)} if len(set(groups)) == 1 else {}


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


def _refuse_rest(options: dict[str, str]) -> None:
    """Refuse options that are not known; those that change what is shown only are left out."""
    for name, inner in options.items():
        if name not in SHOWN:
            shown = f"{name}({inner})" if inner else name
            raise without_counterpart(f"the option {shown}", "Leave it out if it does not change the model.")
