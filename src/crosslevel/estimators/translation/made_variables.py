"""Variables that commands have made, as expressions of a formula."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from crosslevel.errors import CrosslevelError
from crosslevel.formula.contextual import identifier
from crosslevel.formula.expressions import compile_expression, quoted


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a variable stands for.

    Attributes
    ----------
    text : the expression, as it stands in a formula.
    is_categorical : whether it numbers categories.
    group : the columns it numbers the combinations of, if it numbers clusters.
    """

    text: str
    is_categorical: bool = False
    group: tuple[str, ...] = ()
    levels: tuple[object, ...] = ()


@dataclass(eq=False)
class Variables:
    """The variables of a session in another package.

    Attributes
    ----------
    made : by name.
    notes : what was left out of account.
    """

    made: dict[str, Made] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        """A variable as a term of a formula."""
        return self.made[name].text if name in self.made else quoted(name)

    def inside(self, name: str) -> str:
        """A variable inside a function."""
        if name not in self.made:
            return identifier(name)
        text = self.made[name].text
        return text[2:-1] if text.startswith("I(") else text

    def group(self, names: Iterable[str]) -> tuple[str, ...]:
        """Columns that a grouping variable, or several, stand for."""
        found: list[str] = []
        for name in names:
            own = self.made[name].group if name in self.made else (name,)
            if not own:
                raise CrosslevelError(f"{name} is made of numbers, which cannot name clusters. Name a column.")
            found += own
        return tuple(dict.fromkeys(found))

    def average(self, new: str, of: str, group: tuple[str, ...]) -> None:
        """Note a cluster mean."""
        self.made[new] = Made(text=f"between({self.inside(of)}, {':'.join(group)})")

    def difference(self, new: str, of: str, mean: str) -> bool:
        """Note a deviation from a cluster mean; say whether it is one."""
        known = self.made.get(mean)
        start = f"between({self.inside(of)}, "
        if known is None or not known.text.startswith(start):
            return False
        self.made[new] = Made(text=f"within({known.text.removeprefix('between(')}")
        return True

    def computed(self, new: str, expression: str, source: str) -> None:
        """Note a calculation, in the syntax of Python.

        Raises
        ------
        CrosslevelError : it cannot be read.
        """
        written = re.sub(
            r"(?<![\w.\"'])[A-Za-z_][\w.]*(?!\w*\()(?![\w.]*[\"'])",
            lambda found: f"({self.inside(found[0])})" if found[0] in self.made else found[0],
            expression,
        )
        try:
            compile_expression(written)
        except SyntaxError:
            raise CrosslevelError(
                f"{source!r} cannot be read: it is no calculation row by row that a formula knows. Make the variable "
                "in the data, and leave the command out."
            ) from None
        plain = re.fullmatch(r"[A-Za-z_]\w*", written)
        self.made[new] = Made(text=self.text(written) if plain else f"I({written})")


def unknown_command(command: str, package: str) -> CrosslevelError:
    """The error for a command that is not understood."""
    return CrosslevelError(
        f"{package}'s command {command!r} is not one that is read here. Leave it out if it does not change the model; "
        "make variables in the data otherwise."
    )


def without_counterpart(what: str, advice: str) -> CrosslevelError:
    """The error for something that crosslevel does not have."""
    return CrosslevelError(f"crosslevel has no counterpart of {what}. {advice}")
