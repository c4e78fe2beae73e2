"""Fit two-step regressions: one regression in each cluster, whose coefficients clusters then explain."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Literal, TypeAlias

from crosslevel.design.outcome import AskedOutcome
from crosslevel.design.two_levels import ClusterDesign, SeparateDesign, cluster_design, separate_design
from crosslevel.errors import CrosslevelError, DesignError, FormulaError
from crosslevel.estimators.two_step_clusters import ClusterRows, cluster_rows
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.estimators.two_step_outcomes import CovariateNames, check_second, second_steps
from crosslevel.estimators.two_step_outcomes import StepMethod as StepMethod
from crosslevel.families import Family, family_of
from crosslevel.formula import ContextVariables, Formula, context_variables, parse
from crosslevel.formula.expressions import quoted
from crosslevel.formula.parse import find_tilde, one_line
from crosslevel.inference.contrasts import Coefficients
from crosslevel.inference.separate import SeparateRegressions, separate_regressions, without
from crosslevel.table import Columns, open_source
from crosslevel.table.picked import with_numbers
from crosslevel.types import Frame, Missing
from crosslevel.weights import Sampling, Weights, check_weights

SecondFormulas: TypeAlias = "str | Sequence[str] | Mapping[str, str]"
"""What is explained by what: "x1 ~ z", several of them, or {"x1": "z"}."""


def two_step(
    first: str,
    second: SecondFormulas,
    data: Frame,
    *,
    cluster: str,
    family: str | Family = "gaussian",
    method: StepMethod = "fgls",
    vcov: str | None = None,
    covariates: CovariateNames = None,
    first_variance: Literal["own", "pooled"] = "own",
    weights: Weights | None = None,
    missing: Missing = "drop",
) -> TwoStepFit:
    """Regress in each cluster, then explain the clusters' coefficients by what clusters are.

    First step, in cluster j: y = X b_j + e, with the sampling covariance Omega_j of b_j. Second step, for a coefficient
    b_1 whose sampling variances are omega_j^2: b_1j = z_j'gamma + u_j + e_j, Var(u_j) = sigma^2. All separate
    regressions are solved at once, from the cross-products of the clusters.

    Parameters
    ----------
    first : the regression in each cluster, as in "y ~ x1 + x2". Its predictors vary within clusters.
    second : what explains which coefficient: "x1 ~ z"; several such formulas in a list, or right sides by outcome,
        {"x1": "z", "sector[Catholic]": "z"}. Outcomes are named as coefficients are printed, the intercept
        `Intercept`. Right sides are evaluated on one row for each cluster: center(z) is centred at the mean over
        clusters. Their variables are constant within clusters; between(x, cluster) is the mean of one that is not.
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    cluster : the column of the clusters, or "a:b".
    family : of the first step: "gaussian" for linear regressions; "binomial" or "poisson", or an object such as
        cl.families.Binomial(link="probit"), for generalized linear models by maximum likelihood, Omega_j being the
        inverse of the information. Clusters in which the outcome does not vary or is separated are left out.
    method : the second step.
        "fgls": weights 1 / (omega_j^2 + sigma^2), sigma^2 from the residuals of OLS less what sampling contributes to
        them, floored at zero (Lewis & Linzer 2005). "wls": weights 1 / omega_j^2, as if sigma were zero. "ols": none.
        "adjusted": OLS, with other coefficients of the first step as covariates, whose means do not depend on the
        context variables: b_1j = z_j'gamma + (b_Cj - mu)'delta + e_j. As precise as a mixed model where clusters are
        large, with exact t tests. "adjusted-fgls": the same with covariates that are shrunk where clusters say little,
        and weighted; see `crosslevel.inference.adjusted_step`.
    vcov : standard errors. "scaled", the default: those of weighted least squares, whose residual variance corrects
        the size of all weights. "unscaled": the weights at their word. "HC0" .. "HC3": robust to weights that are
        wrong; with few clusters "HC3" is the cautious one.
    covariates : for the adjusted methods. None: the principal components that vary more than sampling explains, of all
        coefficients whose equation has no context variable. A list of coefficients, or "all" of these: as they are.
        The intercept is a covariate only if it is named, or `second` says that its mean is constant ("Intercept ~ 1").
    first_variance : "own" gives each cluster its own residual variance, "pooled" one to all. Clusters are left out
        that have no more rows than coefficients ("own"), or fewer ("pooled").
    weights : cl.Precision("w") or cl.Frequency("w"), of rows.
    missing : "drop" the rows with missing values in the first step, and clusters without a value of a context variable,
        and count both; or "raise".

    Notes
    -----
    Clusters need rows: those with fewer than coefficients are left out, where a mixed model uses them, and with fewer
    than some twenty for each coefficient all second steps but "adjusted-fgls" lose precision. An adjusted effect is the
    effect at given values of the covariates: it is the whole effect only if these do not depend on the context
    variables. Where theory says that they do, explain them in `second`, which takes them off the covariates. With
    fewer than about ten clusters there are few degrees of freedom to spend on covariates.

    Returns
    -------
    TwoStepFit : a regression with a row for each cluster. Coefficients are named "z", or "x1: z" where several outcomes
        are explained; `first_step`, `left_out`, `sigma2` and `covariates` are frames.

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.two_step("mathach ~ ses", ["ses ~ sector", "Intercept ~ sector"], data, cluster="school")
    >>> fit.tidy()[["estimate", "std_error", "df"]].round(3)
                                 estimate  std_error     df
    term
    ses: Intercept                  2.714      0.160  158.0
    ses: sector[Catholic]          -1.350      0.228  158.0
    Intercept: Intercept           11.661      0.268  158.0
    Intercept: sector[Catholic]     2.232      0.398  158.0

    Source
    ------
    Lewis & Linzer (2005), Political Analysis 13: 345-364; Hanushek (1974), Am. Stat. 28: 66-67; Borjas & Sueyoshi
    (1994), J. Econometrics 64: 165-182. For the adjusted methods Rao (1965), Biometrika 52: 447-458; Grizzle & Allen
    (1969), Biometrics 25: 357-381.
    """
    _check_arguments(first, cluster, method, vcov, covariates, first_variance)
    law = first_family(family, first_variance)
    reading = _check_reading(weights)
    if open_source(data) is not None:
        raise CrosslevelError(
            "`data` is read in batches, which `two_step` does not do: read them first, with cl.read(path) or the "
            "library's own reader."
        )
    asked = _asked(second)
    with _naming("second"):
        parsed = [parse(f"{quoted(name.replace('`', ''))} ~ {right}") for name, right in asked]
        needs = [_needs(formula) for formula in parsed]
    direct = tuple(dict.fromkeys(name for need in needs for name in need.direct))
    averaged = tuple(dict.fromkeys(name for need in needs for name in need.averaged if name not in direct))
    with _naming("first"):
        below = separate_design(
            first, data, cluster, also=averaged, weights=reading, missing=missing,
            outcome=None if law is None else AskedOutcome(family=law, is_quasi=True),
        )  # fmt: skip
    separate = _separate(below, law, pooled=first_variance == "pooled")
    above = cluster_rows(below, direct, averaged)
    used = _complete(separate, above, missing)
    clusters = above.of(used.place)
    names = _outcome_names([name for name, _ in asked], below)
    with _naming("second"):
        designs = {
            name: _design(right, clusters, below, used, name) for name, (_, right) in zip(names, asked, strict=True)
        }
    given = {
        "second": second, "cluster": cluster, "family": law or "gaussian", "method": method, "vcov": vcov,
        "covariates": covariates, "first_variance": first_variance, "weights": reading, "missing": missing,
    }  # fmt: skip
    return TwoStepFit(
        formula=below.spec.formula.text, data=data, given=given, below=below, separate=used,
        outcomes=second_steps(designs, used, method, covariates), vcov_kind=vcov or "scaled",
    )  # fmt: skip


def first_family(family: object, first_variance: str) -> Family | None:
    """The family of the first step; None for linear regressions.

    Raises
    ------
    CrosslevelError : no such family, one with shape parameters, or a residual variance where there is none.
    """
    if isinstance(family, str) and family.lower() == "gaussian":
        return None
    law = family_of(family)  # type: ignore[arg-type]
    if law.kind == "ordered" or law.n_shape():
        raise CrosslevelError(
            f"`family` is {law.description}, which has parameters beside the coefficients, that single clusters hardly "
            "tell. `two_step` takes 'gaussian', 'binomial' and 'poisson'; use cl.mixed(..., family=)."
        )
    if first_variance != "own":
        raise CrosslevelError(
            f"`first_variance` is {first_variance!r}, but with the family {law.description} the first step has no "
            "residual variance. Leave it out."
        )
    return law


def _separate(below: SeparateDesign, law: Family | None, *, pooled: bool) -> SeparateRegressions:
    """The regressions of the first step."""
    if law is not None and below.outcome is not None:
        from crosslevel.inference.separate_responses import separate_responses

        return separate_responses(below, law, below.outcome)
    return separate_regressions(below.products, range(below.spec.n_fixed), below.constant, pooled=pooled)


def _design(
    right: str, clusters: Columns, below: SeparateDesign, used: SeparateRegressions, name: str
) -> ClusterDesign:
    """Context variables of one outcome."""
    column = name if name not in clusters.names else f"{name} (coefficient)"
    outcome = used.beta[:, used.names.index(name)]
    return cluster_design(parse(f"{quoted(column)} ~ {right}"), with_numbers(clusters, column, outcome), below)


def _complete(separate: SeparateRegressions, above: ClusterRows, missing: Missing) -> SeparateRegressions:
    """The regressions of clusters that have all context variables.

    Raises
    ------
    DesignError : none is left, or a value is missing where that is an error.
    """
    lacking = [above.lacking[j] for j in separate.place]
    if missing == "raise" and any(lacking):
        level, names = next((level, names) for level, names in zip(separate.levels, lacking, strict=True) if names)
        raise DesignError(
            f"`data` has no value of {names} for {sum(map(bool, lacking))} clusters, such as {level!r}. "
            "Use missing='drop' to leave them out, or find the values."
        )
    out = without([f"no value of {names}" if names else "" for names in lacking], separate)
    if not out.levels:
        reasons = Counter(one.reason for one in out.left_out).most_common(3)
        raise DesignError(
            f"`first` has no cluster with a regression of its own among {len(out.left_out)}: "
            + "; ".join(f"{reason} ({count} {'cluster' if count == 1 else 'clusters'})" for reason, count in reasons)
            + ". Predictors have to vary within clusters (variables of clusters belong into `second`), and clusters "
            "need more rows than coefficients: use fewer predictors, or cl.mixed."
        )
    return out


def _asked(second: object) -> list[tuple[str, str]]:
    """Outcome and right side of each formula of the second step.

    Raises
    ------
    CrosslevelError : no formulas.
    """
    if isinstance(second, Mapping):
        pairs = [(str(name), str(right)) for name, right in second.items()]
        asked = [(name.strip(), right.split("~", 1)[-1]) for name, right in pairs]
    elif isinstance(second, str) or (
        isinstance(second, Sequence) and all(isinstance(formula, str) for formula in second)
    ):
        formulas = [second] if isinstance(second, str) else list(second)
        with _naming("second"):
            lines = [one_line(formula) for formula in formulas]
            tildes = [find_tilde(line) for line in lines]
        asked = [(line[:tilde].strip(), line[tilde + 1 :]) for line, tilde in zip(lines, tildes, strict=True)]
    else:
        asked = []
    if not asked:
        raise CrosslevelError(
            "`second` is a formula such as 'x1 ~ z', several of them in a list, or right sides by outcome, "
            f"{{'x1': 'z'}}; got {second!r}."
        )
    return asked


def _needs(formula: Formula) -> ContextVariables:
    """Columns that a second step uses; refuses random terms."""
    if formula.random:
        raise FormulaError(
            f"`second` has the random term {formula.random[0].text}, but its rows are clusters. Fit clusters within "
            "larger clusters with cl.mixed."
        )
    return context_variables(formula)


def _outcome_names(wanted: Sequence[str], below: SeparateDesign) -> list[str]:
    """Names of the coefficients that are explained, however they are spelt.

    Raises
    ------
    CrosslevelError : no such coefficient, or one twice.
    """
    columns = below.spec.columns[: below.spec.n_fixed]
    known = Coefficients.of([column.name for column in columns], [column.factors for column in columns])
    position = {"".join(name.split()): place for name, place in known.position.items()}
    out = []
    for name in wanted:
        place = position.get("".join(name.replace("`", "").split()))
        if place is None:
            close = get_close_matches(name, known.names, n=1, cutoff=0.4)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise CrosslevelError(
                f"`second` explains {name!r}, which is no coefficient of the first step.{hint} "
                f"Coefficients: {', '.join(known.names)}."
            )
        out.append(known.names[place])
    twice = [name for name, count in Counter(out).items() if count > 1]
    if twice:
        raise CrosslevelError(f"`second` explains {twice[0]!r} twice. Write one formula for each coefficient.")
    return out


def _check_arguments(
    first: object, cluster: object, method: object, vcov: object, covariates: object, first_variance: object
) -> None:
    """Refuse arguments that mean nothing."""
    if not isinstance(first, str):
        raise CrosslevelError(f"`first` is text such as 'y ~ x1 + x2'; got {type(first).__name__}.")
    if not isinstance(cluster, str):
        raise CrosslevelError(f"`cluster` is the name of one column, such as 'school'; got {cluster!r}.")
    check_second(method, vcov, covariates)
    if first_variance not in ("own", "pooled"):
        raise CrosslevelError(f"`first_variance` is 'own' or 'pooled'; got {first_variance!r}.")


def _check_reading(weights: object) -> Weights | None:
    """Weights of rows, sampling weights refused."""
    reading = check_weights(weights)
    if isinstance(reading, Sampling):
        raise CrosslevelError(
            "`weights` are sampling weights, with which the sampling variances of the first step would be wrong: they "
            "are those of independent rows. Write cl.Precision('w') or cl.Frequency('w') if that is what they are, or "
            "fit the pseudo-likelihood with cl.mixed(..., method='ml')."
        )
    return reading


@contextmanager
def _naming(argument: str) -> Iterator[None]:
    """Errors about `formula` are about one of two formulas here: name which."""
    try:
        yield
    except CrosslevelError as error:
        raise type(error)(str(error).replace("`formula`", f"`{argument}`")) from None
