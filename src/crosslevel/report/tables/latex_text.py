"""Any text as LaTeX that every engine can set."""

import unicodedata

COMMANDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''", "[": "{[}", "]": "{]}",
    "*": "{*}", "\u00a0": "~", "\u2013": "--", "\u2014": "---", "\u2018": "`", "\u2019": "'", "\u201c": "``",
    "\u201d": "''", "\u2026": r"\ldots{}", "\u20ac": r"\texteuro{}", "°": r"\textdegree{}", "µ": r"\ensuremath{\mu}",
    "²": r"\textsuperscript{2}", "³": r"\textsuperscript{3}", "¹": r"\textsuperscript{1}",
    "\u2009": r"\,", "\u202f": r"\,", "§": r"\S{}",
    **{letter: f"\\{letter}" for letter in "_%&#${}"},
}  # fmt: skip
"""Characters with commands of their own."""

GREEK = [
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
]
"""From U+03B1 on."""

CAPITALS = {"Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma",
            "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega"}  # fmt: skip
"""Greek capitals that differ from Latin ones."""

ALIKE = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
"""Greek letters that look like Latin ones."""

SIGNS = {"×": "times", "±": "pm", "·": "cdot", "≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "→": "rightarrow",
         "←": "leftarrow", "∞": "infty", "√": "surd", "∑": "sum", "∂": "partial", "∈": "in", "÷": "div"}  # fmt: skip
"""Signs of mathematics."""

GLYPH = (
    r"\providecommand{\anyglyph}[2]{\ifdefined\Umathchar#1\else"
    r"\ifcsname u8:\detokenize{#1}\endcsname#1\else\texttt{U+#2}\allowbreak\fi\fi}"
)
"""A character where the engine or the preamble knows it, its number where not."""


def escaped(text: str) -> str:
    r"""A text as LaTeX: nothing in it is a command, and no character stops an engine.

    Letters that neither the fonts of pdfTeX nor the preamble know are written by `GLYPH`'s command.

    Examples
    --------
    >>> print(escaped("50% of a_b & σ² <x>"))
    50\% of a\_b \& \ensuremath{\sigma}\textsuperscript{2} \textless{}x\textgreater{}
    >>> print(escaped("😀"))
    \anyglyph{😀}{1F600}
    """
    shown = "".join(map(_character, unicodedata.normalize("NFC", text)))
    return shown.replace("--", "-{}-") if "--" in text else shown


def _character(letter: str) -> str:
    """One character."""
    if letter in COMMANDS:
        return COMMANDS[letter]
    if letter in ALIKE:
        return ALIKE[letter]
    if letter in CAPITALS or letter in SIGNS or "α" <= letter <= "ω":
        name = CAPITALS.get(letter) or SIGNS.get(letter) or GREEK[ord(letter) - ord("α")]
        return rf"\ensuremath{{\{name}}}"
    if " " <= letter <= "~" or "À" <= letter <= "ž":
        return letter
    if unicodedata.category(letter) in ("Cf", "Mn"):  # joiners and variants that show nothing by themselves
        return ""
    return rf"\anyglyph{{{letter}}}{{{ord(letter):04X}}}"
