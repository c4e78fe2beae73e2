"""Mundlak and within-between models as formulas, and the test that within and between effects are equal."""

from collections.abc import Sequence

from crosslevel.errors import CrosslevelError, FormulaError
from crosslevel.formula import Kind, learn, learn_context, parse, random_texts, slopes_text, write_context
from crosslevel.formula.expressions import quoted
from crosslevel.table import Columns, open_source
from crosslevel.types import Frame

KINDS: tuple[Kind, ...] = ("mundlak", "within-between")


def mundlak(
    formula: str,
    data: Frame,
    *,
    group: str,
    kind: Kind = "mundlak",
    keep: Sequence[str] = (),
    random: bool = True,
    slopes: Sequence[str] = (),
) -> str:
    """Write the cluster means of the predictors into a formula: a Mundlak or a within-between model.

    "mundlak": x + between(x, g). The coefficient of x is the effect within clusters (that of fixed effects), the one of
    between(x, g) the contextual effect: what a cluster's mean adds to the effect of x itself.
    "within-between": within(x, g) + between(x, g), whose coefficients are the effects within and between clusters. Both
    are the same model. `cl.mundlak_test` asks whether within and between effects are equal.

    Which predictors vary within clusters is found from the data; the others stay as they are. For categories the means
    of their indicators are taken, between(I(f == 'a'), g). In an interaction with z, constant within clusters, the mean
    is that of the product, z:between(x, g); so it is in the product of two varying predictors, between(I(x1 * x2), g),
    where deviations are those of the product, too, as in fixed effects. Means that are the same in all clusters (of
    time, in a balanced panel) are left out.

    within() and between() take the means of the rows that a model uses: those without missing values in the formula's
    variables and the clusters, whichever of these are missing.

    Parameters
    ----------
    formula : as in "y ~ x1 + x2 + z", with or without random terms. In within-between models slopes that vary between
        the same clusters become those of deviations: (x | g) is turned to (within(x, g) | g).
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    group : the column of the clusters, or columns as in "a:b".
    kind : "mundlak" or "within-between".
    keep : predictors that stay as they are, by name as in the formula or of the variable; all terms with them.
    random : whether to add (1 | g) where the formula has no random term of these clusters. False for `cl.ols` and the
        panel estimators.
    slopes : predictors whose slopes vary between clusters: adds (1 + x | g), or (1 + within(x, g) | g).

    Returns
    -------
    formula : text for `cl.mixed`, or without random terms for `cl.ols`, `cl.random_effects`, ...

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; nothing varies within clusters; predictors of which cluster
        means cannot be written. The message says what to do.

    Source
    ------
    Mundlak (1978), Econometrica 46: 69-85; Bell & Jones (2015), Polit. Sci. Res. Methods 3: 133-153, for the
    within-between form; Giesselmann & Schmidt-Catran (2022), Sociol. Methods Res. 51: 1100-1127, for products of two
    varying predictors.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> cl.mundlak("mathach ~ ses * sector", data, group="school")
    'mathach ~ ses + between(ses, school) + sector + ses:sector + between(ses, school):sector + (1 | school)'
    >>> cl.mundlak("mathach ~ ses + sector", data, group="school", kind="within-between", slopes=["ses"])
    'mathach ~ within(ses, school) + between(ses, school) + sector + (1 + within(ses, school) | school)'
    """
    check_arguments(formula, data, kind)
    columns = Columns.from_frame(data)
    names = group_names(columns, group)
    parsed = parse(formula, [name for name in columns.names if name not in names])
    columns.require(parsed.variables, "formula")
    mask, _ = columns.complete((*parsed.required, *names))
    context = learn_context(
        learn(parsed, columns, mask), columns, mask, group=names, kind=kind, keep=listed("keep", keep)
    )
    if not any(context.changes(term) for term in parsed.fixed_terms):
        raise FormulaError(
            f"`formula` has no predictor that varies within {group}{' beside those to keep' if keep else ''}, so that "
            f"there are no cluster means to add: {formula!r}. Check `group`, or fit the formula as it is."
        )
    texts, text = random_texts(context), ":".join(quoted(name) for name in names)
    if slopes:
        if context.own:
            raise FormulaError(
                f"`slopes` adds a random term over {group}, but `formula` has {context.own[0].text} already. Write the "
                "slopes there, or leave the term out of the formula."
            )
        texts.append(slopes_text(context, listed("slopes", slopes), text))
    elif random and not context.own:
        texts.append(f"(1 | {text})")
    return write_context(context, texts)


def check_arguments(formula: object, data: Frame, kind: object) -> None:
    """Refuse what is no formula, no kind, or data that are not in memory."""
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x + z'; got {type(formula).__name__}.")
    if kind not in KINDS:
        raise CrosslevelError(f"`kind` is {' or '.join(map(repr, KINDS))}; got {kind!r}.")
    if open_source(data) is not None:
        raise CrosslevelError(
            "`data` is read in batches, and whether predictors vary within clusters is asked of rows in memory. Give a "
            "frame with some of the clusters (the formula can be used for all), or write the formula out."
        )


def group_names(columns: Columns, group: object) -> tuple[str, ...]:
    """The columns that clusters are made of."""
    if not isinstance(group, str) or not group:
        raise CrosslevelError(f"`group` is the column of the clusters, such as group='school'; got {group!r}.")
    names = (group,) if group in columns.names else tuple(group.split(":"))
    columns.require(names, "group")
    return names


def listed(argument: str, names: object) -> tuple[str, ...]:
    """One or several names."""
    found = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Sequence) else (names,)
    if not all(isinstance(name, str) for name in found):
        raise CrosslevelError(f"`{argument}` is a list of predictors such as ['x1', 'x2']; got {names!r}.")
    return found
