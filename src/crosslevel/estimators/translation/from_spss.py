"""Models read from the commands of SPSS."""

import re
from typing import Any

from crosslevel import residual as structures
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.made_variables import Made, Variables, unknown_command, without_counterpart
from crosslevel.estimators.translation.translation import Translation
from crosslevel.weights import Frequency, Precision

STRUCTURES = {"UN": "", "VC": "diag", "DIAG": "diag", "CS": "cs", "CSH": "hcs", "AR1": "ar1", "ARH1": "har1"}
DDF = {"SATTERTHWAITE": "satterthwaite", "KENWARDROGER": "kenward-roger", "RESIDUAL": "residual"}
IGNORED = ("EXECUTE", "GET", "DATASET", "TITLE", "VARIABLE LABELS", "VALUE LABELS", "SORT CASES", "FREQUENCIES", "SAVE")
SHOWN = ("PRINT", "EMMEANS", "SAVE", "TEST", "MISSING")


def from_spss(commands: str) -> Translation:
    """Read a model from the MIXED command of SPSS: y = X beta + Z b + e.

    COMPUTE, AGGREGATE with MODE=ADDVARIABLES and WEIGHT before it may make variables and weights.

    Parameters
    ----------
    commands : syntax of SPSS; each command ends with a full stop at the end of a line.

    Returns
    -------
    Translation : with the formula, the arguments, the call, notes, and `fit(data)`.

    Raises
    ------
    CrosslevelError : a command or keyword without counterpart; the message says what to do.

    Source
    ------
    IBM (2021), IBM SPSS Statistics 28 Command Syntax Reference, MIXED.

    Examples
    --------
    >>> import crosslevel as cl
    >>> print(cl.from_spss('''MIXED mathach WITH ses
    ...   /FIXED=ses | SSTYPE(3)
    ...   /METHOD=REML
    ...   /RANDOM=INTERCEPT ses | SUBJECT(school) COVTYPE(UN).'''))
    cl.mixed("mathach ~ ses + (1 + ses | school)", data, method="reml", ddf="satterthwaite")
    """
    if not isinstance(commands, str) or not commands.strip():
        got = "nothing" if isinstance(commands, str) else type(commands).__name__
        raise CrosslevelError(f"`commands` is syntax of SPSS with a MIXED command; got {got}.")
    lines = [" ".join(part.split()) for part in re.split(r"\.\s*(?:\n|$)", commands.strip())]
    variables, weights = Variables(), None
    model: str | None = None
    for line in filter(None, lines):
        word = line.split()[0].upper()
        if word == "MIXED" and model is None:
            model = line
        elif word == "MIXED":
            raise CrosslevelError("`commands` has more than one MIXED; give them one by one.")
        elif word == "WEIGHT":
            weights = Frequency(line.split()[-1])
        elif not line.startswith("*"):
            _prepare(line, variables)
    if model is None:
        raise CrosslevelError("`commands` has no MIXED command, the one that is read.")
    return _read(model, commands, variables, weights)


def _prepare(line: str, variables: Variables) -> None:
    """Take note of a command that makes variables."""
    upper = line.upper()
    if match := re.fullmatch(
        r"AGGREGATE /OUTFILE=\* MODE=ADDVARIABLES(?: OVERWRITE=\w+)? /BREAK=([\w ]*) ?/(\w+)=(MEAN|SD|SUM)\((\w+)\)",
        line, re.IGNORECASE,
    ):  # fmt: skip
        group, new, function, of = match[1].split(), match[2], match[3].upper(), match[4]
        if function == "MEAN" and group:
            variables.average(new, of, variables.group(group))
            return
        variables.made[new] = Made(text=f"{function}({variables.inside(of)})")
        return
    if match := re.fullmatch(r"COMPUTE (\w+)\s*=\s*(.*)", line, re.IGNORECASE):
        _compute(match[1], match[2], line, variables)
        return
    if upper.startswith("SELECT IF NOT (MISSING"):
        variables.notes.append("rows with missing values are left out before means are taken, as they are here")
        return
    if not upper.startswith(IGNORED):
        raise unknown_command(line, "SPSS")


def _compute(new: str, right: str, line: str, variables: Variables) -> None:
    """COMPUTE: deviations, and calculations."""
    if right.upper() == "$CASENUM":
        variables.made[new] = Made(text="$CASENUM")
        return
    if match := re.fullmatch(r"(\w+)\s*-\s*(\w+)", right):
        known = variables.made.get(match[2])
        if known is not None and known.text == f"MEAN({variables.inside(match[1])})":
            variables.made[new] = Made(text=f"center({variables.inside(match[1])})")
            return
        if variables.difference(new, match[1], match[2]):
            return
    if (match := re.fullmatch(r"\((\w+) - (\w+)\) / (\w+)", right)) and match[2] in variables.made:
        of = variables.inside(match[1])
        if variables.made[match[2]].text == f"MEAN({of})" and variables.made[match[3]].text == f"SD({of})":
            variables.made[new] = Made(text=f"scale({of})")
            return
    if match := re.fullmatch(r"(\w+) - (\w+) \* (\w+) / (\w+)", right):
        indicator = variables.made.get(match[2])
        level = re.fullmatch(r"I\(\(?(\w+) == (.*?)\)?\)", indicator.text) if indicator else None
        if level and match[1] == new:
            variables.made[new] = Made(text=f"wec({level[1]}, ref={level[2]})")
            return
    plain = re.sub(r"(?<![<>=])=(?!=)", "==", right).replace("<>", "!=").replace("~=", "!=")
    plain = re.sub(r"\bLN\(", "log(", plain, flags=re.IGNORECASE)
    plain = re.sub(r"\b(EXP|SQRT|ABS)\(", lambda found: found[0].lower(), plain, flags=re.IGNORECASE)
    plain = re.sub(r"\bAND\b", "&", re.sub(r"\bOR\b", "|", re.sub(r"\bNOT\b", "~", plain)))
    variables.computed(new, plain, line)


def _read(line: str, source: str, variables: Variables, weights: Frequency | None) -> Translation:
    """MIXED."""
    head, *subcommands = re.split(r"\s/", line)
    match = re.fullmatch(r"MIXED (\w+)(?: BY ([\w ]+?))?(?: WITH ([\w ]+))?", head, re.IGNORECASE)
    if not match:
        raise CrosslevelError(f"The head of SPSS's command cannot be read: {head!r}.")
    outcome, factors = match[1], (match[2] or "").split()
    fixed, random, intercept = [], [], True
    arguments: dict[str, Any] = {"method": "reml", "ddf": "satterthwaite"}
    if weights is not None:
        arguments["weights"] = weights
    for text in subcommands:
        name, _, inside = text.partition("=")
        name, inside = name.strip().upper(), inside.strip()
        if name == "FIXED":
            effects, _, rest = inside.partition("|")
            fixed = [_effect(effect, factors, variables) for effect in re.sub(r"\s*\*\s*", "*", effects).split()]
            intercept = "NOINT" not in rest.upper()
        elif name == "RANDOM":
            random.append(_random(inside, factors, variables))
        elif name == "REPEATED":
            arguments["residual"] = _repeated(inside, variables)
        elif name == "METHOD":
            if inside.lower() not in ("ml", "reml"):
                raise without_counterpart(f"SPSS's /METHOD={inside}", "Those read are ML and REML.")
            arguments["method"] = inside.lower()
        elif name == "REGWGT":
            arguments["weights"] = Precision(inside)
        elif name == "CRITERIA":
            if asked := re.search(r"DFMETHOD\((\w+)\)", inside.upper()):
                if asked[1] not in DDF:
                    raise without_counterpart(f"DFMETHOD({asked[1]})", f"Those read are {', '.join(DDF)}.")
                arguments["ddf"] = DDF[asked[1]]
        elif name not in SHOWN:
            raise without_counterpart(f"SPSS's subcommand /{text}", "Leave it out if it does not change the model.")
    if arguments["method"] == "ml" or "residual" in arguments:
        arguments = {key: value for key, value in arguments.items() if key != "ddf"}
    if not random and "residual" not in arguments:
        raise CrosslevelError("`commands` has MIXED without /RANDOM and /REPEATED, which is a regression: use cl.ols.")
    right = " + ".join([*([] if intercept else ["0"]), *fixed, *random]) or "1"
    right = right if fixed or not intercept else " + ".join(["1", *random])
    formula = f"{variables.text(outcome)} ~ {right}"
    return Translation(formula=formula, arguments=arguments, source=source, notes=tuple(variables.notes))


def _effect(text: str, factors: list[str], variables: Variables) -> str:
    """An effect; SPSS leaves the last category of a factor out."""
    return ":".join(f"C({name})" if name in factors else variables.text(name) for name in text.split("*"))


def _random(text: str, factors: list[str], variables: Variables) -> str:
    """A random term."""
    effects, _, options = text.partition("|")
    subject = re.search(r"SUBJECT\(([\w* ]+)\)", options, re.IGNORECASE)
    kind = re.search(r"COVTYPE\((\w+)\)", options, re.IGNORECASE)
    if not subject:
        raise without_counterpart(f"SPSS's /RANDOM={text} without SUBJECT", "Write the group as SUBJECT(group).")
    group = ":".join(variables.group(name.strip() for name in subject[1].split("*")))
    words = re.sub(r"\s*\*\s*", "*", effects).split()
    has = any(word.upper() == "INTERCEPT" for word in words)
    slopes = [_effect(word, factors, variables) for word in words if word.upper() != "INTERCEPT"]
    inside = " + ".join(["1" if has else "0", *slopes])
    if len(slopes) + has == 1:
        return f"({inside} | {group})"
    structure = (kind[1] if kind else "VC").upper()
    if structure not in STRUCTURES:
        raise without_counterpart(f"COVTYPE({structure})", f"Those read are {', '.join(STRUCTURES)}.")
    return f"{STRUCTURES[structure]}({inside} | {group})"


def _repeated(text: str, variables: Variables) -> structures.ResidualStructure:
    """/REPEATED."""
    occasion, _, options = text.partition("|")
    subject = re.search(r"SUBJECT\(([\w* ]+)\)", options, re.IGNORECASE)
    kind = re.search(r"COVTYPE\((\w+)\)", options, re.IGNORECASE)
    name = (kind[1] if kind else "DIAG").upper()
    times = [variables.text(part.strip()) for part in occasion.split("*")]
    within = subject[1].strip() if subject else ""
    own = variables.made.get(within)
    if name == "DIAG" and (own is None or own.text == "$CASENUM"):
        return structures.By(":".join(times))
    if name == "AR1":
        return structures.AR1(times[0], within=within)
    if name == "CS":
        return structures.CompoundSymmetry(within=within)
    if name == "UN":
        return structures.Unstructured(times[0], within=within)
    raise without_counterpart(f"COVTYPE({name}) of /REPEATED", "Those read are DIAG, AR1, CS and UN.")
