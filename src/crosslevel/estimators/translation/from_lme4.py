"""Models read from calls of lme4 in R."""

import re
from typing import Any

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import Made, Variables, unknown_command, without_counterpart
from crosslevel.estimators.translation.stata_options import top_split as split_outside
from crosslevel.estimators.translation.translation import Translation
from crosslevel.families import Binomial
from crosslevel.formula.expressions import quoted
from crosslevel.weights import Precision

CALLS = ("lmer", "glmer", "glmer.nb")
IGNORED = re.compile(r"(library|require|summary|print|anova|confint|head|str|plot|VarCorr|fixef|ranef|options)\(")
DDF = {"satterthwaite": "satterthwaite", "kenward-roger": "kenward-roger"}
CONTROLS = {"control", "verbose", "na.action", "start", "data"}


def from_lme4(code: str) -> Translation:
    """Read a model from calls of R's lme4 (or lmerTest): y = X beta + Z b + e.

    Read are lmer, glmer and glmer.nb. Assignments before the call may make variables: cluster means by `ave`,
    deviations from them or from `mean`, `scale`, `factor`, and calculations.

    Parameters
    ----------
    code : the call, or several lines.

    Returns
    -------
    Translation : with the formula, the arguments, the call, notes, and `fit(data)`.

    Raises
    ------
    CrosslevelError : something without counterpart; the message says what to do.

    Source
    ------
    Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1), sec. 2.1.

    Examples
    --------
    >>> import crosslevel as cl
    >>> print(cl.from_lme4("m <- lmer(Reaction ~ Days + (Days || Subject), sleepstudy, REML = FALSE)"))
    cl.mixed("Reaction ~ Days + (Days || Subject)", data, method="ml")
    """
    if not isinstance(code, str) or not code.strip():
        raise CrosslevelError(f"`code` is text such as 'lmer(y ~ x + (x | g), data)'; got {_got(code)}.")
    variables = Variables()
    found: Translation | None = None
    ddf: dict[str, str] = {}
    for statement in statements(code):
        call = re.match(r"(?:[\w.]+\s*(?:<-|=)\s*)?(?:lme4::|lmerTest::)?(lmer|glmer\.nb|glmer)\((.*)\)$", statement)
        if call:
            if found is not None:
                raise CrosslevelError("`code` has more than one model; give them one by one.")
            found = _read(call[1], call[2], code, variables)
        elif asked := re.search(r'ddf\s*=\s*["\']([\w-]+)["\']', statement):
            name = asked[1].lower()
            ddf = {"ddf": DDF[name]} if name in DDF else {}
        elif not IGNORED.match(statement):
            _prepare(statement, variables)
    if found is None:
        raise CrosslevelError(f"`code` has none of the calls that are read: {', '.join(CALLS)}.")
    arguments = {**found.arguments, **ddf}
    return Translation(formula=found.formula, arguments=arguments, source=code, notes=tuple(variables.notes))


def _got(given: object) -> str:
    """What came in the place of text."""
    return "nothing" if isinstance(given, str) else type(given).__name__


def statements(code: str) -> list[str]:
    """Statements of R on one line each, without comments."""
    lines = [re.sub(r"#.*$", "", line) for line in code.splitlines()]
    found: list[str] = []
    current = ""
    for line in lines:
        current = f"{current} {line.strip()}".strip()
        if current and current.count("(") == current.count(")") and not re.search(r"(\+|-|\*|~|,|<-|\|)$", current):
            found.append(current)
            current = ""
    return [*found, *([current] if current else [])]


def _read(call: str, inner: str, source: str, variables: Variables) -> Translation:
    """A call of lmer or glmer."""
    named: dict[str, str] = {}
    for position, piece in enumerate(split_outside(inner, ",")):
        match = re.match(r"\s*([A-Za-z][\w.]*)\s*=(?!=)\s*(.*)$", piece)
        name, value = (match[1], match[2]) if match else (("formula", "data", "", "")[min(position, 3)], piece)
        named[name] = value.strip()
    formula = named.pop("formula", "")
    arguments: dict[str, Any] = {}
    if call == "lmer":
        reml = named.pop("REML", "TRUE")
        arguments["method"] = "ml" if reml in ("FALSE", "F") else "reml"
    else:
        family = named.pop("family", "poisson" if call == "glmer.nb" else "gaussian")
        arguments["family"] = "negbinomial" if call == "glmer.nb" else _family(family)
        nodes = named.pop("nAGQ", "1")
        if not re.fullmatch(r"[1-9]\d*L?", nodes):
            raise without_counterpart(f"nAGQ = {nodes}", "Write 1 (Laplace) or a number of nodes.")
        arguments["quadrature"] = int(nodes.rstrip("L"))
    if "weights" in named:
        arguments["weights"] = Precision(_column(named.pop("weights")))
    if "offset" in named:
        _offset(named.pop("offset"), arguments)
    rest = [name for name in named if name not in CONTROLS and name]
    if rest:
        raise without_counterpart(f"the argument {rest[0]} = {named[rest[0]]}", "Leave it out, or change the data.")
    if not re.search(r"~.*\|", formula):
        raise CrosslevelError(f"{call}({inner}) has no formula with random effects, such as y ~ x + (x | g).")
    return Translation(formula=_formula(formula, arguments, variables), arguments=arguments, source=source)


def _family(text: str) -> "str | Binomial":
    """A family of R."""
    found = re.fullmatch(r'["\']?(\w+)["\']?(?:\((?:link\s*=\s*)?["\']?(\w*)["\']?\))?', text)
    name, link = (found[1].lower(), found[2] or "") if found else (text, "")
    if name == "binomial":
        return "binomial" if link in ("", "logit") else Binomial(link=link)
    if name == "poisson" and link in ("", "log"):
        return "poisson"
    if name == "gamma" and link == "log":
        return "gamma"
    raise without_counterpart(f"family = {text}", "Use binomial, poisson(log) or Gamma(log).")


def _column(text: str) -> str:
    """A column, as x or data$x."""
    found = re.fullmatch(r"(?:[\w.]+\$)?([\w.]+)", text)
    if not found:
        raise CrosslevelError(f"{text!r} is no column: add it to the data, and name it.")
    return found[1]


def _offset(text: str, arguments: dict[str, Any]) -> None:
    """An offset; that of a logarithm is an exposure."""
    exposure = re.fullmatch(r"log\(([\w.$]+)\)", text)
    arguments["exposure" if exposure else "offset"] = _column(exposure[1] if exposure else text)


def _formula(text: str, arguments: dict[str, Any], variables: Variables) -> str:
    """A formula of R as one of crosslevel."""
    text = re.sub(r"\b[\w.]+\$", "", text)
    for inner in re.findall(r"\+\s*offset\(((?:[^()]|\([^()]*\))*)\)", text):
        _offset(inner.strip(), arguments)
    text = re.sub(r"\+\s*offset\((?:[^()]|\([^()]*\))*\)", "", text)
    left, _, right = text.partition("~")
    trials = re.fullmatch(r"\s*cbind\(([\w.]+),\s*([\w.]+)\s*-\s*\1\)\s*", left)
    if trials:
        left, arguments["trials"] = trials[1], trials[2]
    right = re.sub(r"\brelevel\((?:as\.)?factor\(([\w.]+)\),\s*ref\s*=\s*([^()]+)\)", _relevelled, right)
    right = re.sub(r"\b(?:as\.)?factor\(([\w.]+)\)", r"C(\1)", right)
    right = re.sub(r"\brelevel\(([\w.]+),\s*(?:ref\s*=\s*)?([^()]+)\)", r"C(\1, contr.treatment(\2))", right)
    left, right = (re.sub(r"(?<![\w.$])(sqrt|exp|abs)\(", r"np.\1(", side) for side in (left, right))
    left, right = (_replaced(side, variables) for side in (left, right))
    return " ".join(f"{left.strip()} ~ {right.strip()}".split())


def _relevelled(found: "re.Match[str]") -> str:
    """Categories with another reference; numbers that R quotes are numbers."""
    base = found[2].strip()
    base = base.strip("\"'") if re.fullmatch(r"[\"']\d+[\"']", base) else base
    return f"C({found[1]}, contr.treatment({base}))"


def _replaced(text: str, variables: Variables) -> str:
    """Variables that were made by what they stand for."""

    def one(found: "re.Match[str]") -> str:
        name = found[0]
        if name not in variables.made:
            return name
        before = text[: found.start()]
        inside = before.count("I(") > 0 and before.rfind("I(") > before.rfind(")")
        return f"({variables.inside(name)})" if inside else variables.text(name)

    return re.sub(r"(?<![\w.\"'])[A-Za-z.][\w.]*(?![\w.]*[\"'(])", one, text)


def _prepare(statement: str, variables: Variables) -> None:
    """Take note of an assignment to a column."""
    found = re.match(r"([\w.]+)\$([\w.]+)\s*(?:<-|=)\s*(.*)$", statement)
    if not found:
        if re.match(r"[\w.]+\s*(<-|=)\s*(read|haven::|foreign::|[\w.]+\[complete\.cases|na\.omit)", statement):
            return
        if re.match(r"names\(\w+\)\[names\(\w+\) == \"(.*)\"\] <- \"([\w.]+)\"$", statement):
            renamed = re.findall(r'"(.*?)"', statement)
            variables.made[renamed[1]] = Made(text=quoted(renamed[0]), group=(renamed[0],))
            return
        raise unknown_command(statement, "R")
    frame, new, right = found[1], found[2], re.sub(rf"\b{re.escape(found[1])}\$", "", found[3]).strip()
    del frame
    _made(new, right, statement, variables)


def _made(new: str, right: str, statement: str, variables: Variables) -> None:
    """Take note of a variable by what stands to the right of the arrow."""
    name = r"([\w.]+)"
    if match := re.fullmatch(rf"ave\({name}((?:,\s*[\w.]+)+?)(?:,\s*FUN\s*=\s*mean)?\)", right):
        variables.average(new, match[1], variables.group(part.strip() for part in match[2].strip(", ").split(",")))
    elif match := re.fullmatch(rf"{name} - mean\({name}(?:,\s*na\.rm\s*=\s*TRUE)?\)", right):
        variables.made[new] = Made(text=f"center({variables.inside(match[1])})")
    elif match := re.fullmatch(
        rf"\({name} - mean\(\1\)\) / sd\(\1\)|(?:as\.numeric\()?scale\({name}\)(?:\[, 1\])?\)?", right
    ):
        variables.made[new] = Made(text=f"scale({variables.inside(match[1] or match[2])})")
    elif match := re.fullmatch(rf"(?:as\.)?factor\({name}(.*)\)", right):
        _factor(new, match[1], match[2], variables)
    elif match := re.fullmatch(
        rf'\({name} == (".*?"|[\d.]+)\) - \(\1 == (".*?"|[\d.]+)\) \* sum\(.*\) / sum\(.*\)', right
    ):
        variables.made[new] = Made(text=f"wec({match[1]}, ref={match[3]})")
    elif match := re.fullmatch(rf'as\.(?:integer|numeric)\({name} == (".*"|[\d.]+)\)', right):
        variables.made[new] = Made(text=f"I({match[1]} == {match[2]})")
    elif match := re.fullmatch(r"interaction\((.*?)(?:,\s*drop = TRUE)?\)", right):
        names = variables.group(part.strip() for part in match[1].split(","))
        variables.made[new] = Made(text=":".join(names), group=names)
    elif (match := re.fullmatch(rf"{name} - {name}", right)) and variables.difference(new, match[1], match[2]):
        return
    else:
        plain = re.sub(r"^with\(\w+,\s*(.*)\)$", r"\1", right).replace("^", "**")
        variables.computed(new, re.sub(r"!(?!=)", "~", plain), statement)


def _factor(new: str, column: str, rest: str, variables: Variables) -> None:
    """A factor, its first level the reference."""
    first = re.search(r"levels\s*=\s*c\(\s*(\"[^\"]*\"|[\d.-]+)", rest)
    text = f"C({quoted(column)}, contr.treatment({first[1]}))" if first else f"C({quoted(column)})"
    variables.made[new] = Made(text=text, is_categorical=True, group=(column,))
