"""Numbers as text: enough digits to be useful, aligned on the decimal point by the table that shows them."""

import math

MINUS = "-"
MISSING = ""


def fixed(value: float | None, decimals: int, *, separator: str = "") -> str:
    """A number with a fixed number of decimals; empty when it is missing, and never `-0.00`.

    Parameters
    ----------
    value : the number, None or NaN when there is none.
    decimals : digits after the decimal point.
    separator : between groups of three digits of the integer part.

    Examples
    --------
    >>> fixed(12.12793, 3), fixed(-0.00004, 2), fixed(7185, 0, separator=","), fixed(None, 2)
    ('12.128', '0.00', '7,185', '')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else f"{MINUS}inf"
    shown = f"{value:,.{decimals}f}".replace(",", separator)
    return shown.lstrip(MINUS) if not shown.strip("-0.,") else shown


def decimals_for(value: float | None, *, significant: int = 3, least: int = 0, most: int = 8) -> int:
    """Decimals that show `significant` digits of a number: 3 for 0.199, 5 for 0.00199, 0 for 199.

    Parameters
    ----------
    value : the number that decides, often a standard error; missing and zero give `least`.
    significant : digits wanted, leading zeros not counted.
    least, most : bounds of the result.

    Examples
    --------
    >>> decimals_for(0.199), decimals_for(0.00199), decimals_for(199.0), decimals_for(199.0, least=1)
    (3, 5, 0, 1)
    """
    if value is None or not math.isfinite(value) or value == 0:
        return least
    # rounding first: 0.09996 is shown as 0.100, which has one decimal less than its exponent says
    exponent = int(f"{abs(value):.{significant - 1}e}".partition("e")[2])
    return max(least, min(most, significant - 1 - exponent))


def number(value: float | None, *, decimals: int = 3, significant: int = 3) -> str:
    """A number with `decimals` decimals, and more (or the exponent) where that would leave too few digits.

    Parameters
    ----------
    value : the number, None or NaN when there is none.
    decimals : usual number of decimals; large numbers get fewer.
    significant : digits that a small number keeps.

    Examples
    --------
    >>> number(12.12793), number(0.000123456), number(46503.66286), number(1.5e-12), number(0.0)
    ('12.128', '0.000123', '46503.7', '1.50e-12', '0.000')
    """
    if value is None or math.isnan(value):
        return MISSING
    size = abs(value)
    if size == 0 or math.isinf(size):
        return fixed(value, decimals)
    if size < 1e-6 or size >= 1e9:
        return f"{value:.{significant - 1}e}"
    if size >= 1000:
        return fixed(value, min(decimals, 1))
    return fixed(value, max(decimals, decimals_for(value, significant=significant)) if size < 0.1 else decimals)


def integer(value: float | None) -> str:
    """A whole number without separators, for identifiers and years.

    Examples
    --------
    >>> integer(2010), integer(None)
    ('2010', '')
    """
    return fixed(value, 0)


def counted(value: float | None) -> str:
    """A count, with a comma between thousands.

    Examples
    --------
    >>> counted(7185), counted(5_000_000), counted(28)
    ('7,185', '5,000,000', '28')
    """
    return fixed(value, 0, separator=",")


def percent(value: float | None, *, decimals: int = 1) -> str:
    """A share as a percentage.

    Examples
    --------
    >>> percent(0.18035), percent(1.0, decimals=0), percent(None)
    ('18.0%', '100%', '')
    """
    return "" if value is None or math.isnan(value) else f"{fixed(100 * value, decimals)}%"


def p_value(value: float | None) -> str:
    """A p value as social science prints it: no leading zero, and never `.000`.

    Examples
    --------
    >>> p_value(0.0132), p_value(0.00002), p_value(0.99999), p_value(1.0), p_value(None)
    ('.013', '< .001', '> .999', '> .999', '')
    """
    if value is None or math.isnan(value):
        return MISSING
    if value < 0.001:
        return "< .001"
    if value > 0.9994:
        return "> .999"
    return f"{value:.3f}".removeprefix("0")


def p_statement(value: float | None) -> str:
    """A p value with its sign of comparison, for sentences; empty when it is missing.

    Examples
    --------
    >>> p_statement(0.0132), p_statement(0.00002), p_statement(1.0), p_statement(None)
    ('p = .013', 'p < .001', 'p > .999', '')
    """
    shown = p_value(value)
    if not shown:
        return MISSING
    return f"p {shown}" if shown.startswith(("<", ">")) else f"p = {shown}"
