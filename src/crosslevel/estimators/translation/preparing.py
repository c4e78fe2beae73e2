"""Expressions of a formula -> variables of another package, with the steps that make them."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.steps import Step
from crosslevel.formula.expressions import Code, Expression, compile_expression
from crosslevel.formula.terms import Term

if TYPE_CHECKING:
    from crosslevel.estimators.translation.arithmetic import Language

ELEMENTWISE = {
    "log": "log", "exp": "exp", "sqrt": "sqrt", "abs": "abs", "log2": "log2", "log10": "log10", "log1p": "log1p",
    "round": "round", "floor": "floor",
}  # fmt: skip
"""Functions of one number that every package has, by their names in formulas (with or without np.)."""


@dataclass(frozen=True, kw_only=True)
class Atom:
    """A factor of a term: a variable of the other package.

    Attributes
    ----------
    name : the variable, or what stands for it in the other package's formulas.
    levels : its categories, in order, if it is categorical; else empty.
    reference : the category without a coefficient.
    text : the expression it stands for.
    """

    name: str
    levels: tuple[object, ...] = ()
    reference: object = None
    text: str = ""

    @property
    def is_categorical(self) -> bool:
        """Whether it stands for categories."""
        return bool(self.levels)


Atoms = tuple[Atom, ...]


@dataclass(eq=False)
class Preparation:
    """Builds the variables of one translation.

    Attributes
    ----------
    model : what is translated.
    legal : makes a legal name of a column's name.
    inline : how calculations are written inside formulas; None where they need variables of their own.
    steps : what has to be done, in order.
    made : variables of expressions that are known already, by the text of the expression.
    taken : names of variables that are there already, in small letters.
    renamed : columns of the data and their names in the other package.
    """

    model: Model
    legal: Callable[[str], str]
    inline: "Language | None" = None
    steps: list[Step] = field(default_factory=list)
    made: dict[str, Atoms] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """A column of the data by its name in the other package."""
        if name not in self.renamed:
            new = self.legal(name)
            self.renamed[name] = new if new == name else self._unused(new)
            self.taken.add(self.renamed[name].lower())
        return self.renamed[name]

    def _unused(self, name: str) -> str:
        """A name for a column whose own is not legal."""
        others = {other.lower() for other in self.renamed.values()} | self.taken
        return name if name.lower() not in others else self._numbered(name, len(others))

    def free(self, wanted: str) -> str:
        """A legal name that is not taken, near one that is wanted."""
        design = self.model.design
        columns = self.model.formula.variables if design is None else design.columns.names
        known = {self.legal(name).lower() for name in columns}
        name, number = self.legal(wanted), 1
        while name.lower() in self.taken | known:
            number += 1
            name = self._numbered(wanted, number)
        self.taken.add(name.lower())
        return name

    def _numbered(self, wanted: str, number: int) -> str:
        for length in range(len(wanted), 0, -1):
            name = self.legal(f"{wanted[:length]}{number}")
            if name.endswith(str(number)):
                return name
        return self.legal(f"v{number}")

    def expression(self, expression: Expression) -> Atoms:
        """Variables of an expression: several for polynomials."""
        if expression.text not in self.made:
            if expression.is_column:
                self.made[expression.text] = (self._plain(expression.text),)
            else:
                code = compile_expression(expression.text)
                self.made[expression.text] = self._call(code.tree, code)
        return self.made[expression.text]

    def _plain(self, column: str) -> Atom:
        """A bare column."""
        coding = self.model.codings.get(column)
        if coding is None:
            return Atom(name=self.column(column), text=column)
        return Atom(name=self.column(column), levels=coding.levels, reference=coding.reference, text=column)

    def _tree(self, tree: ast.expr, code: Code) -> str:
        """The one variable that a part of an expression stands for."""
        text = code.text(tree)
        if isinstance(tree, ast.Name):
            return self.column(code.column(tree.id))
        if text not in self.made:
            self.made[text] = self._call(tree, code)
        (atom,) = self.made[text]
        return atom.name

    def _call(self, tree: ast.expr, code: Code) -> Atoms:
        """Variables of a call or a calculation."""
        text = code.text(tree)
        match tree:
            case ast.Call(func=ast.Name(id="within" | "between" as kind), args=[inner, ast.Name(id=group)]):
                return (self._clustered(kind, inner, code.group(group), code, text),)
            case ast.Call(func=ast.Name(id="center" | "scale" as kind), args=[inner], keywords=[]):
                of = self._tree(inner, code)
                new = self.free(f"{of}_{'c' if kind == 'center' else 'z'}")
                self.steps.append(steps.Centred(new=new, of=of, scaled=kind == "scale"))
                return (Atom(name=new, text=text),)
            case ast.Call(func=ast.Name(id="C"), args=[ast.Name(id=name)], keywords=[]):
                return (self._categories(code.column(name), text),)
            case ast.Call(
                func=ast.Name(id="C"),
                args=[
                    ast.Name(id=name),
                    ast.Call(
                        func=ast.Attribute(value=ast.Name(id="contr"), attr="treatment") | ast.Name(id="Treatment"),
                        args=[ast.Constant(value=base)],
                    ),
                ],
            ):
                return (replace(self._categories(code.column(name), text), reference=base),)
            case ast.Call(func=ast.Name(id="wec"), args=[ast.Name(id=name), *_]):
                return self._weighted(code.column(name), text)
            case ast.Call(func=ast.Name(id="poly"), args=[inner, ast.Constant(value=int(degree))]):
                return self._powers(inner, degree, code, text)
            case ast.Call(
                func=ast.Name(id="poly"),
                args=[inner],
                keywords=[ast.keyword(arg="degree", value=ast.Constant(value=int(degree)))],
            ):
                return self._powers(inner, degree, code, text)
        return (self._computed(tree, code, text),)

    def _clustered(self, kind: str, inner: ast.expr, group: tuple[str, ...], code: Code, text: str) -> Atom:
        """Cluster means, or deviations from them."""
        of = self._tree(inner, code)
        key = f"between({code.text(inner)}, {':'.join(group)})"
        if key not in self.made:
            place = f"_{group[-1]}" if len(self.model.groups) > 1 else ""
            new = self.free(f"{of}_mean{place}")
            groups = tuple(self.column(name) for name in group)
            self.steps.append(steps.ClusterMean(new=new, of=of, group=groups))
            self.made[key] = (Atom(name=new, text=key),)
        mean = self.made[key][0]
        if kind == "between":
            return replace(mean, text=text)
        new = self.free(mean.name.replace("_mean", "_dev"))
        self.steps.append(steps.Difference(new=new, of=of, mean=mean.name))
        return Atom(name=new, text=text)

    def _categories(self, column: str, text: str) -> Atom:
        """C(x) of a column."""
        coding = self.model.codings.get(text)
        if coding is None:
            return Atom(name=self.column(column), levels=("?",), text=text)
        return Atom(name=self.column(column), levels=coding.levels, reference=coding.reference, text=text)

    def _weighted(self, column: str, text: str) -> Atoms:
        """Weighted effect coding: a variable for each category but the omitted one."""
        self.model.need_data(f"the categories of {column}")
        coding = self.model.codings[text]
        found = []
        for level in coding.levels:
            if level != coding.reference:
                new = self.free(f"{column}_{level}_w")
                omitted = coding.reference
                self.steps.append(
                    steps.WeightedEffect(new=new, variable=self.column(column), level=level, omitted=omitted)
                )
                found.append(Atom(name=new, text=f"{text}[{level}]"))
        return tuple(found)

    def _powers(self, inner: ast.expr, degree: int, code: Code, text: str) -> Atoms:
        """Powers that span what orthogonal polynomials span."""
        first = self._tree(inner, code)
        if self.inline is not None:
            return (Atom(name=f"poly({first}, {degree})", text=text),)
        found = [Atom(name=first, text=text)]
        for power in range(2, degree + 1):
            new = self.free(f"{first}_{power}")
            tree = ast.BinOp(left=ast.Name(id=first), op=ast.Pow(), right=ast.Constant(value=power))
            self.steps.append(steps.Computed(new=new, tree=tree, variables=(first,)))
            found.append(Atom(name=new, text=text))
        return tuple(found)

    def _computed(self, tree: ast.expr, code: Code, text: str) -> Atom:
        """A calculation row by row."""
        inner = tree
        match tree:
            case ast.Call(func=ast.Name(id="I"), args=[argument], keywords=[]):
                inner = argument
        written = _Written(self, code).visit(compile_copy(inner))
        if self.inline is not None:
            shown = self.inline.write(written)
            return Atom(name=shown if isinstance(written, ast.Call) else f"I({shown})", text=text)
        variables = tuple(
            dict.fromkeys(
                node.id
                for node in ast.walk(written)
                if isinstance(node, ast.Name) and node.id not in ELEMENTWISE.values()
            )
        )
        new = self.free(short_name(code.text(inner)))
        self.steps.append(steps.Computed(new=new, tree=written, variables=variables))
        return Atom(name=new, text=text)

    def indicator(self, atom: Atom, level: object) -> Atom:
        """The indicator of one category."""
        text = f"{atom.text}[{level}]"
        if text not in self.made:
            new = self.free(f"{atom.name}_{level}")
            self.steps.append(steps.Indicator(new=new, variable=atom.name, level=level))
            self.made[text] = (Atom(name=new, text=text),)
        return self.made[text][0]

    def product(self, atoms: Atoms) -> Atom:
        """The product of variables as one variable."""
        if len(atoms) == 1:
            return atoms[0]
        text = ":".join(atom.text for atom in atoms)
        if text not in self.made:
            new = self.free("_x_".join(atom.name for atom in atoms))
            self.steps.append(steps.Multiplied(new=new, factors=tuple(atom.name for atom in atoms)))
            self.made[text] = (Atom(name=new, text=text),)
        return self.made[text][0]

    def component(self, name: str) -> Atom:
        """The variable of one component column of the design, as "ses" or "sector[Catholic]"."""
        design = self.model.need_data("the columns of the design")
        for component in design.spec.components:
            if name in component.names:
                place = component.names.index(name)
                atoms = self.expression(_expression_of(self.model, component.text))
                if atoms[0].is_categorical:
                    level = next(level for level in atoms[0].levels if name == f"{component.text}[{level}]")
                    return self.indicator(atoms[0], level)
                return atoms[place]
        raise KeyError(name)

    def term(self, term: Term) -> list[Atoms]:
        """Products of variables that a term stands for: several for polynomials and weighted effects."""
        if term.scale != 1.0:
            raise CrosslevelError(f"`translate` cannot scale a term ({term.source}): write I({term.scale:g} * x).")
        found: list[Atoms] = [()]
        for expression in term.expressions:
            found = [(*before, atom) for before in found for atom in self.expression(expression)]
        return found

    def group(self, names: tuple[str, ...]) -> str:
        """One variable that numbers the clusters."""
        if len(names) == 1:
            return self.column(names[0])
        text = ":".join(names)
        if text not in self.made:
            new = self.free("_".join(names))
            self.steps.append(steps.Crossing(new=new, columns=tuple(self.column(name) for name in names)))
            self.made[text] = (Atom(name=new, text=text),)
        return self.made[text][0].name

    def argument(self, name: str) -> str | None:
        """The column of an argument such as `offset`; None if there is none.

        Raises
        ------
        CrosslevelError : it was given as numbers.
        """
        given = self.model.given.get(name)
        if given is None:
            return None
        if not isinstance(given, str):
            raise CrosslevelError(
                f"`{name}` was given as numbers, which other packages have to read from the data. Add them to the data "
                f"as a column, and name it: {name}='column'."
            )
        return self.column(given)


def _expression_of(model: Model, text: str) -> Expression:
    """The expression of a formula by its text."""
    terms = [*model.formula.fixed_terms, *(t for part in model.formula.random for block in part.blocks for t in block)]
    return next(e for term in terms for e in term.expressions if e.text == text)


def compile_copy(tree: ast.expr) -> ast.expr:
    """A copy of a syntax tree."""
    return ast.parse(ast.unparse(tree), mode="eval").body


def unknown_expression(text: str) -> CrosslevelError:
    """The error for an expression that other packages cannot spell."""
    return CrosslevelError(
        f"`formula` has {text}, which `translate` cannot spell out in another package. Make a column of it in the data "
        "first, and use that."
    )


def short_name(text: str) -> str:
    """A name that tells a calculation."""
    for pattern, word in (
        (r"\*\*\s*2\b", "_sq"), (r"\*\*\s*", "_"), (r">=", "_ge_"), (r"<=", "_le_"), (r"==", "_is_"), (r"!=", "_not_"),
        (r">", "_gt_"), (r"<", "_lt_"), (r"\bnp\.", ""),
    ):  # fmt: skip
        text = re.sub(pattern, word, text)
    text = re.sub(r"\W+", "_", text).strip("_")
    return re.sub(r"_+", "_", text)


class _Written(ast.NodeTransformer):
    """Names of columns and of transforms inside a calculation as variables; refuses functions nobody else has."""

    def __init__(self, preparation: Preparation, code: Code) -> None:
        self.preparation, self.code = preparation, code

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replace a column."""
        return ast.Name(id=self.preparation.column(self.code.column(node.id)))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace a transform by its variable; name a function as everybody does."""
        match node.func:
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="np"), attr=name):
                pass
            case _:
                raise unknown_expression(self.code.text(node))
        if name in ("within", "between", "center", "scale"):
            return ast.Name(id=self.preparation._tree(node, self.code))
        if name == "I" and len(node.args) == 1:
            return self.visit(node.args[0])  # type: ignore[no-any-return]
        if name not in ELEMENTWISE or len(node.args) != 1:
            raise unknown_expression(self.code.text(node))
        return ast.Call(func=ast.Name(id=ELEMENTWISE[name]), args=[self.visit(node.args[0])], keywords=[])

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Refuse."""
        raise unknown_expression(self.code.text(node))
