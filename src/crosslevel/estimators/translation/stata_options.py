"""Options of Stata's commands: split, read by their abbreviations, refused where they are not known."""

import re

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import without_counterpart

SHOWN = {
    "nolog", "variance", "var", "stddeviations", "stddev", "or", "irr", "eform", "nofetable", "noretable", "noheader",
    "nogroup", "nolrtest", "iterate", "difficult", "emiterate", "technique", "dftable", "startvalues", "from", "emonly",
    "log", "nostderr", "coeflegend", "base", "allbaselevels", "tolerance", "matlog", "matsqrt", "collinear",
}  # fmt: skip
"""Options that change what is shown, or how the maximum is searched for."""

NAMES = {
    "cov": "covariance", "nocons": "noconstant", "noconst": "noconstant", "resid": "residuals", "residual": "residuals",
    "res": "residuals", "restricted": "reml", "ml": "mle", "mlestimation": "mle", "dfm": "dfmethod",
    "disp": "dispersion", "exp": "exposure", "off": "offset", "intp": "intpoints", "intm": "intmethod",
    "fam": "family", "f": "family", "l": "link", "bin": "binomial", "lev": "level", "vce": "vce", "pwscale": "pwscale",
}  # fmt: skip


def top_split(text: str, mark: str) -> list[str]:
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


def read_options(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the comma, and the options behind it by their full names.

    Raises
    ------
    CrosslevelError : a bracket that is not closed.

    Examples
    --------
    >>> read_options("g: x, cov ( un ) nolog")
    ('g: x', {'covariance': 'un', 'nolog': ''})
    """
    if text.count("(") != text.count(")"):
        raise CrosslevelError(f"Stata's {text.strip()!r} opens more brackets than it closes, or fewer.")
    pieces = top_split(text, ",")
    found: dict[str, str] = {}
    for name, inner in re.findall(r"(\w+)(?:\s*\(((?:[^()]|\([^()]*\))*)\))?", ",".join(pieces[1:])):
        full = NAMES.get(name)
        if full is None:
            full = next((known for known in NAMES.values() if len(name) >= 3 and known.startswith(name)), name)
        found[full] = inner.strip()
    return pieces[0].strip(), found


def refuse_rest(options: dict[str, str]) -> None:
    """Refuse options that are not known; those that change what is shown only are left out.

    Raises
    ------
    CrosslevelError : one that is not known.
    """
    for name, inner in options.items():
        if not any(known == name or (len(name) > 2 and known.startswith(name)) for known in SHOWN):
            shown = f"{name}({inner})" if inner else name
            raise without_counterpart(f"the option {shown}", "Leave it out if it does not change the model.")


def whole_number(text: str, option: str, usual: int) -> int:
    """The number of an option; the usual one where it is not given.

    Raises
    ------
    CrosslevelError : it is no number.
    """
    if text and not text.isdecimal():
        raise CrosslevelError(f"Stata's option {option} needs a whole number; got {option}({text}).")
    return int(text) if text else usual
