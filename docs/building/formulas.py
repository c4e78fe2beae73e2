"""Formulas as they stand in plain text, typeset as MathML: Lambda becomes Λ, X'V⁻¹X gets its primes and exponents."""

import re
from collections import Counter
from html import escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ",
    "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
FUNCTIONS = {"log", "exp", "tr", "min", "max", "sup", "var", "Var", "cov", "Cov", "logit", "artanh", "sqrt", "diag"}
SYMBOLS = {"-": "−", "~": "∼", "<=": "≤", ">=": "≥", "->": "→", "*": "·", "-/+": "∓", "+/-": "±"}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀ", "0123456789-+T")
SHORT_WORDS = {"of", "in", "is", "or", "at", "to", "by", "so", "on", "as", "be", "if", "an", "for", "and", "its"}

TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<over>sum over (?P<range>\w+(?: \w+){0,3}?) of\b)|(?P<sum>sum(?:_(?P<index>\w+))?\b)"
    r"|(?P<number>\d+(?:[.,]\d+)*|\.\d+)|(?P<word>[A-Za-z][A-Za-z0-9]*(?:-[a-z]{2,}[A-Za-z]*)*)"
    r"|(?P<below>_\w+(?:,\w+)?)|(?P<caret>\^(?:-?\d+(?:/\d+)?|\w+))|(?P<raised>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀ]+)|(?P<prime>')"
    r"|(?P<operator>-/\+|\+/-|<=|>=|->|.)"
)


def as_mathml(block: str) -> str:
    """A formula of one or more lines as MathML.

    Parameters
    ----------
    block : lines of a formula; two spaces or more are kept as a gap, and equality signs below each other stay so.
    """
    lines = block.strip("\n").split("\n")
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    opened = '<math display="block">'
    rows = aligned([line[least:].rstrip() for line in lines if line.strip()])
    if len(rows) == 1:  # several formulas on a line may go to the next one where the page is narrow
        pieces = "".join(
            f"{opened}<mrow>{row_of(piece)}</mrow></math> " for piece in re.split(r" {3,}", lines[0].strip())
        )
        return f'<div class="formula">{pieces}</div>'
    table = "".join(f"<mtr>{row}</mtr>" for row in rows)
    return f'<div class="formula">{opened}<mtable columnalign="left">{table}</mtable></math></div>'


def aligned(lines: list[str]) -> list[str]:
    """Cells of each line: those whose equality signs stand below each other have what is before it in a cell."""
    places = Counter(line.find(" = ") for line in lines if " = " in line)
    place, times = places.most_common(1)[0] if places else (-1, 0)
    if times < 2:
        return [cell(line) for line in lines]
    rows = []
    for line in lines:
        if line[place : place + 3] == " = ":
            rows.append(cell(line[:place].rstrip()) + cell(line[place + 1 :]))
        elif len(line) - len(line.lstrip()) > place:
            rows.append(cell("") + cell(line[place:]))
        else:
            rows.append(f'<mtd class="left" columnspan="2"><mrow>{row_of(line)}</mrow></mtd>')
    return rows


def cell(text: str) -> str:
    """A cell of a table with a formula."""
    return f'<mtd class="left"><mrow>{row_of(text)}</mrow></mtd>'


def row_of(text: str) -> str:
    """The elements of one line of a formula."""
    atoms: list[tuple[str, str]] = []  # kind and markup
    for found in TOKEN.finditer(text):
        kind = found.lastgroup if found.lastgroup not in ("range", "index") else "sum"
        if kind == "space":
            width = len(found[0]) if not atoms or len(found[0]) > 1 else 0
            atoms.append(("gap", f'<mspace width="{0.45 * width:.2f}em"/>' if width else ""))
        elif kind in ("below", "caret", "raised", "prime"):
            attach(atoms, kind, found[0])
        else:
            atoms.append(element(kind or "", found))
    return joined(atoms)


def element(kind: str, found: "re.Match[str]") -> tuple[str, str]:
    """Kind and markup of a token that stands by itself."""
    text = found[0]
    if found["over"]:
        return "operator", f'<munder><mo movablelimits="false">∑</mo><mtext>{escape(found["range"])}</mtext></munder>'
    if found["sum"]:
        sign = '<mo largeop="false">∑</mo>'
        return "operator", f"<msub>{sign}{letters(found['index'])}</msub>" if found["index"] else sign
    if kind == "number":
        return "number", f"<mn>{text}</mn>"
    if kind == "word":
        return word(text)
    stretch = ' stretchy="false"' if text in "()[]{}|" else ""
    form = ' form="infix"' if text == "|" else ""
    space = ' lspace="0" rspace="0"' if text == "|" else ""
    return "operator", f"<mo{stretch}{form}{space}>{escape(SYMBOLS.get(text, text))}</mo>"


def word(text: str) -> tuple[str, str]:
    """A symbol, a product of symbols, the name of a function, or a word."""
    if text in GREEK or len(text) == 1:
        return "symbol", f"<mi>{GREEK.get(text, text)}</mi>"
    if text in FUNCTIONS:
        return "function", f"<mi>{text}</mi>"
    if text[:-1] in GREEK and text[-1] == "2":
        return "symbol", f"<msup><mi>{GREEK[text[:-1]]}</mi><mn>2</mn></msup>"
    if (text.isupper() and text not in ("ML", "REML", "AI", "SE", "CR", "PQL")) or text in ("Xty",):
        return "symbol", "".join(f"<mi>{letter}</mi>" for letter in text)
    if re.fullmatch(r"[a-zA-Z](\d[a-z]?|[a-z])", text) and text not in SHORT_WORDS:
        return "symbol", f"<msub><mi>{text[0]}</mi>{letters(text[1:])}</msub>"
    return "word", escape(text)


def letters(text: str) -> str:
    """An index: a Greek name, a number, or letters side by side."""
    parts = []
    for piece in re.findall(r"\d+|[A-Za-z]+|.", text):
        if piece.isdigit():
            parts.append(f"<mn>{piece}</mn>")
        elif piece in GREEK or not piece.isalpha():
            parts.append(f"<mi>{GREEK.get(piece, escape(piece))}</mi>")
        elif len(piece) > 2:
            parts.append(f"<mtext>{piece}</mtext>")
        else:
            parts.extend(f"<mi>{letter}</mi>" for letter in piece)
    return f"<mrow>{''.join(parts)}</mrow>"


def attach(atoms: list[tuple[str, str]], kind: str, text: str) -> None:
    """Put an index, an exponent or a prime to what stands before it."""
    before, markup = atoms.pop() if atoms else ("operator", "<mi></mi>")
    if before == "word":
        markup = f"<mtext>{markup}</mtext>"
    base = markup or "<mi></mi>"
    if kind == "below":
        atoms.append(("symbol", f"<msub>{base}{letters(text[1:])}</msub>"))
        return
    if kind == "prime":
        above = "<mo>′</mo>"
    else:
        power = text.translate(SUPERSCRIPTS).removeprefix("^").replace("-", "−").replace("T", "⊤")
        above = letters(power) if power.isalpha() else f"<mn>{power}</mn>"
    # what is indexed and raised has both at one base
    split = re.fullmatch(r"<msub>(.*?</m[ion]>)(<mrow>.*</mrow>)</msub>", base)
    atoms.append(
        ("symbol", f"<msubsup>{split[1]}{split[2]}{above}</msubsup>" if split else f"<msup>{base}{above}</msup>")
    )


def joined(atoms: list[tuple[str, str]]) -> str:
    """Markup of all elements; words that follow each other are one text with its spaces."""
    kinds = [kind for kind, _ in atoms if kind != "gap"]
    shown: list[str] = []
    position, text = -1, []
    for kind, markup in atoms:
        position += kind != "gap"
        between = 0 < position < len(kinds) - 1 and kinds[position - 1] == "word" == kinds[position + 1]
        article = kind == "symbol" and markup in ("<mi>a</mi>", "<mi>A</mi>") and between
        if kind == "word" or article:
            text.append("a" if article else markup)
        elif kind == "gap" and text and not markup:
            continue
        else:
            shown.extend(sentence(text, bool(shown)))
            text = []
            shown.append(markup)
    return "".join([*shown, *sentence(text, bool(shown))])


def sentence(words: list[str], space_before: bool) -> list[str]:
    """Words as one text, with spaces around it."""
    gap = "\N{NO-BREAK SPACE}"
    return [f"<mtext>{gap if space_before else ''}{' '.join(words)}{gap}</mtext>"] if words else []


FENCED = re.compile(r"^(`{3,}).*?^\1[ ]*$", re.DOTALL | re.MULTILINE)


def with_formulas(text: str) -> str:
    """A page whose indented blocks, which are formulas, are typeset; fenced blocks stay as they are."""
    parts, end = [], 0
    for found in FENCED.finditer(text):
        parts.extend([typeset(text[end : found.start()]), found[0]])
        end = found.end()
    return "".join([*parts, typeset(text[end:])])


def typeset(text: str) -> str:
    """Text without fences, its indented blocks typeset."""
    paragraphs = re.split(r"\n{2,}", text)
    shown = []
    for k, paragraph in enumerate(paragraphs):
        after_list = k > 0 and re.match(r"\s*(?:[-*]|\d+\.) ", paragraphs[k - 1])
        lines = paragraph.strip("\n").split("\n")
        formula = all(line.startswith("    ") for line in lines) and not after_list
        shown.append(f"``````{{raw}} html\n{as_mathml(paragraph)}\n``````" if formula else paragraph)
    return "\n\n".join(shown)
