"""Stata's commands that prepare data, and its factor variables."""

import re
from dataclasses import dataclass, field
from itertools import product

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import Made, Variables, unknown_command
from crosslevel.formula.contextual import identifier
from crosslevel.formula.expressions import quoted

IGNORED = {
    "version", "clear", "cls",
    "use", "set", "label", "list", "describe", "display", "estimates", "estat", "predict", "margins",
    "test", "lincom", "local", "global", "count", "drop", "tabulate", "tab", "lrtest", "codebook", "compress", "sort",
    "marginsplot", "log", "cd", "save", "matrix", "nlcom", "testparm",
}  # fmt: skip
TYPES = {"byte", "int", "long", "float", "double"}


@dataclass(eq=False)
class Session:
    """What Stata's commands have said before the model.

    Attributes
    ----------
    variables : the variables they made.
    labels : categories by the name of their value label.
    summarized : the variable whose mean r(mean) is.
    panel : the columns of xtset.
    """

    variables: Variables = field(default_factory=Variables)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    summarized: str | None = None
    panel: tuple[str, ...] = ()


def read_commands(text: str) -> list[str]:
    """Commands of a do-file, each on one line, without comments."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"///[^\n]*\n", " ", text)
    lines = [re.sub(r"(^|\s)//.*$", "", line).strip().rstrip("; ") for line in text.splitlines()]
    return [re.sub(r"^\.\s+", "", line) for line in lines if line and not line.startswith("*")]


def prepare(command: str, session: Session) -> None:
    """Take note of a command that prepares data.

    Raises
    ------
    CrosslevelError : it is not known.
    """
    by: tuple[str, ...] = ()
    found = re.match(r"(?:bysort|bys|by)\s+([\w\s]+?)(?:\([\w\s]*\))?\s*(?:,\s*sort\s*)?:\s*(.*)", command)
    if found:
        by, command = tuple(found[1].split()), found[2]
    word, _, rest = command.partition(" ")
    if word == "egen":
        _egen(rest, by, session, command)
    elif re.fullmatch(r"g|ge|gen|gene|gener|genera|generat|generate", word) and not by:
        _generate(rest, session, command)
    elif re.fullmatch(r"su|sum|summ|summa|summar|summari|summariz|summarize", word):
        described = rest.split(",")[0].split()
        session.summarized = described[0] if len(described) == 1 else None
    elif word == "encode":
        _encode(rest, session, command)
    elif word in ("xtset", "tsset"):
        session.panel = tuple(rest.split(",")[0].split())
    elif word == "label" and rest.startswith("define"):
        name, _, listed = rest.removeprefix("define").strip().partition(" ")
        pairs = re.findall(r'(-?\d+)\s+"([^"]*)"', listed)
        session.labels[name] = tuple(label for _, label in sorted(pairs, key=lambda pair: int(pair[0])))
    elif word == "keep" and re.match(r"if !missing\([^()]*\)$", rest):
        session.variables.notes.append("rows with missing values are left out before means are taken, as they are here")
    elif word not in IGNORED or (word in ("drop", "use") and re.search(r"\b(if|in)\b", rest)):
        raise unknown_command(command, "Stata")


def _egen(rest: str, by: tuple[str, ...], session: Session, command: str) -> None:
    """Means of clusters, standardised variables, numbers of groups."""
    found = re.fullmatch(
        r"(?:(?:byte|int|long|float|double)\s+)?(\w+)\s*=\s*(\w+)\(([^()]*)\)\s*(?:,\s*by\(([\w\s]+)\))?", rest
    )
    if not found:
        raise unknown_command(command, "Stata")
    new, function, inner = found[1], found[2], found[3].strip()
    by = tuple(found[4].split()) if found[4] else by
    variables = session.variables
    if function == "mean" and by and re.fullmatch(r"\w+", inner):
        variables.average(new, inner, variables.group(by))
    elif function == "std" and not by:
        variables.made[new] = Made(text=f"scale({variables.inside(inner)})")
    elif function == "group" and not by:
        names = variables.group(inner.split())
        variables.made[new] = Made(text=f"C({names[0]})" if len(names) == 1 else new, is_categorical=True, group=names)
    else:
        raise unknown_command(command, "Stata")


def _generate(rest: str, session: Session, command: str) -> None:
    """Calculations."""
    variables = session.variables
    found = re.fullmatch(
        r"(?:(?:byte|int|long|float|double)\s+)?(\w+)\s*=\s*(.*?)(?:\s+if\s+!missing\([\w\s,.]*\))?", rest
    )
    if not found or re.search(r"\sif\s", found[2]):
        raise unknown_command(command, "Stata")
    new, expression = found[1], found[2].strip()
    weighted = re.fullmatch(r"\((\w+) == (.+?)\) - \(\1 == (.+?)\) \* `\w+' / r\(N\)", expression)
    if weighted:
        variables.made[new] = Made(text=f"wec({weighted[1]}, ref={weighted[3]})")
        return
    if session.summarized and re.fullmatch(rf"\(?{session.summarized}\s*-\s*r\(mean\)\)?", expression):
        variables.made[new] = Made(text=f"center({variables.inside(session.summarized)})")
        return
    if session.summarized and re.fullmatch(rf"\({session.summarized}\s*-\s*r\(mean\)\)\s*/\s*r\(sd\)", expression):
        variables.made[new] = Made(text=f"scale({variables.inside(session.summarized)})")
        return
    if "r(" in expression or "`" in expression:
        raise unknown_command(command, "Stata")
    difference = re.fullmatch(r"(\w+)\s*-\s*(\w+)", expression)
    if difference and variables.difference(new, difference[1], difference[2]):
        return
    variables.computed(new, _python(expression), command)


def _python(expression: str) -> str:
    """A calculation of Stata in the syntax of Python."""
    expression = expression.replace("^", "**").replace("~=", "!=")
    expression = re.sub(r"\bln\(", "log(", expression)
    return re.sub(r"!(?!=)", "~", expression)


def _encode(rest: str, session: Session, command: str) -> None:
    """Text as numbered categories."""
    found = re.match(r"(\w+)\s*,\s*(?:gen|generate|g)\((\w+)\)(?:\s*label\((\w+)\))?", rest)
    if not found:
        raise unknown_command(command, "Stata")
    levels = session.labels.get(found[3] or "", ())
    session.variables.made[found[2]] = Made(
        text=quoted(found[1]), is_categorical=True, group=(found[1],), levels=levels
    )


def split_words(text: str) -> list[str]:
    """Words of a list of variables; parentheses hold together."""
    words, depth, current = [], 0, ""
    for letter in re.sub(r"\s*(##?)\s*", r"\1", text):
        depth += (letter == "(") - (letter == ")")
        if letter.isspace() and depth == 0:
            words += [current] if current else []
            current = ""
        else:
            current += letter
    return [*words, *([current] if current else [])]


def terms(text: str, session: Session) -> list[str]:
    """Terms of a formula for a list of variables in factor-variable notation.

    Raises
    ------
    CrosslevelError : a wildcard, a range, a time-series operator.
    """
    found: list[str] = []
    for word in split_words(text):
        full = "##" in word
        parts = [_choices(part, session, alone="#" not in word) for part in re.split("##?", word)]
        if full and "#" in word.replace("##", ""):
            raise CrosslevelError(f"Stata's {word!r} mixes # and ##, which is not read here: write the terms out.")
        for chosen in product(*parts):
            if full:
                found += _crossed(list(chosen))
            else:
                found.append(_product(list(chosen)))
    return list(dict.fromkeys(found))


def _crossed(factors: list[str]) -> list[str]:
    """All products of some factors, the smaller ones first."""
    subsets: list[list[str]] = [[]]
    for factor in factors:
        subsets += [[*before, factor] for before in subsets]
    return [_product(own) for own in sorted((s for s in subsets if s), key=len)]


def _product(factors: list[str]) -> str:
    """A product; a number that occurs twice is squared."""
    found = []
    for factor in dict.fromkeys(factors):
        times = 1 if factor.startswith("C(") else factors.count(factor)
        inner = f"({factor[2:-1]})" if factor.startswith("I(") else factor
        found.append(f"I({inner} ** {times})" if times > 1 else factor)
    return ":".join(found)


def _choices(part: str, session: Session, *, alone: bool) -> list[str]:
    """What one factor of a term stands for: several where a list stands in parentheses."""
    found = re.fullmatch(r"(?:([\w.()]*?)\.)?\((.+)\)", part)
    several = re.fullmatch(r"i\(([\d ]+)\)\.(\w+)", part)
    if several:
        return [_indicator(several[2], number, session) for number in several[1].split()]
    if found and not re.fullmatch(r"i\d+|ib\(.*", found[1] or ""):
        prefix = f"{found[1]}." if found[1] else ""
        return [text for word in found[2].split() for text in _choices(f"{prefix}{word}", session, alone=alone)]
    prefix, _, name = part.rpartition(".")
    if not name.replace("*", "").replace("?", "").replace("~", "").replace("-", "").isidentifier():
        raise CrosslevelError(f"Stata's {part!r} is no name of a variable.")
    if not name.isidentifier():
        raise CrosslevelError(f"Stata's {part!r} stands for variables that only the data know: write their names.")
    made = session.variables.made.get(name)
    if prefix == "c" or (prefix == "" and alone):
        return [session.variables.text(name)]
    if prefix == "":
        prefix = "i"
    if re.fullmatch(r"i?\d+", prefix):
        return [_indicator(name, prefix.removeprefix("i"), session)]
    base = re.fullmatch(r"i|i?b(\d+|n|first)|ib\((?:first|(\d+))\)", prefix)
    if base is None:
        what = "write the number of the base" if "b(" in prefix else "make the variable in the data"
        raise CrosslevelError(f"Stata's operator in {part!r} is not read here: {what}.")
    return [_categories(name, base[1] or base[2], made)]


def _indicator(name: str, number: str, session: Session) -> str:
    """Whether a categorical variable has one value."""
    made = session.variables.made.get(name)
    if made is not None and made.levels:
        if not 0 < int(number) <= len(made.levels):
            raise CrosslevelError(f"Stata's {number}.{name} is none of its {len(made.levels)} categories.")
        return f"I({identifier(made.group[0])} == {str(made.levels[int(number) - 1])!r})"
    if made is not None and made.group:
        raise CrosslevelError(f"Stata's {number}.{name} is a number that encode gave: write which category it is.")
    return f"I({session.variables.inside(name)} == {number})"


def _categories(name: str, base: str | None, made: Made | None) -> str:
    """A categorical variable with its base."""
    if base == "n":
        raise CrosslevelError(f"Stata's ibn.{name} leaves no category out, which is not read here: leave out one.")
    column = made.group[0] if made is not None and made.group else name
    if made is not None and made.levels:
        level = made.levels[int(base) - 1 if base and base.isdigit() else 0]
        return f"C({column}, contr.treatment({str(level)!r}))"
    if made is not None and not made.group:
        return f"C({made.text})"
    return f"C({column}, contr.treatment({base}))" if base and base.isdigit() else f"C({column})"
