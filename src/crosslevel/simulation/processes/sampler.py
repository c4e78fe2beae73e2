"""Choose how the data of a process are drawn."""

from collections.abc import Sequence

from crosslevel.simulation.processes.columns import LinearColumn, linear_columns
from crosslevel.simulation.processes.draws_itself import DrawsItself
from crosslevel.simulation.processes.exact import ExactSampler, recipe_of
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.rows import RowSampler
from crosslevel.simulation.processes.sampling import Sampler as Sampler
from crosslevel.simulation.processes.sampling import learnt_formulas, read_for, union_of
from crosslevel.simulation.processes.variables import Normal


def sampler_of(process: Process, formulas: Sequence[str]) -> Sampler:
    """What draws data from a process for some formulas: cross-products directly where that is exact, else rows.

    Products are drawn where predictors of rows are normal and every column, of the process and of the formulas, is
    linear in the rows of a cluster: see `linear_columns`.

    Parameters
    ----------
    process : where data come from.
    formulas : whose design columns are needed.

    Returns
    -------
    Sampler : its `description` says which way was chosen, and why.

    Raises
    ------
    CrosslevelError : a formula does not fit the process.

    Examples
    --------
    >>> import numpy as np
    >>> process = Process(
    ...     formula="y ~ x + (1 | g)", effects={"Intercept": 0, "x": 1}, sd={"Intercept": 1}, clusters=8, size=9
    ... )
    >>> sampler = sampler_of(process, ["y ~ x + (x | g)"])
    >>> sampler.names, sampler.draw(np.random.SeedSequence(1).spawn(3)).mean.shape
    (('Intercept', 'x', 'y'), (3, 8, 3))
    >>> sampler_of(process, ["y ~ x + I(x**2) + (1 | g)"]).description
    'Rows are drawn and summed, since I(x ** 2) is no fixed linear function of the rows.'
    """
    if isinstance(process, DrawsItself):
        return process.sampler()
    specs = learnt_formulas(process, formulas)
    union_of((process.spec, *specs))
    names = union_of(specs)
    found: dict[str, LinearColumn] = {}
    own, problems = linear_columns(process.spec, process.all_variables, process.group)
    reasons = list(problems)
    for spec in specs:
        columns, problems = linear_columns(spec, process.all_variables, process.group)
        found.update({column.name: column for column in columns})
        reasons.extend(problems)
    for name in process.predictors:
        variable = process.all_variables[name]
        if not isinstance(variable, Normal):
            reasons.append(f"{name} is {type(variable).__name__}, not Normal")
    if process.rows:
        reasons.append("the process asks for rows")
    if reasons:
        read = tuple(read_for(process, formula) for formula in formulas)
        return RowSampler(process=process, columns=names, formulas=read, reasons=tuple(dict.fromkeys(reasons)))
    recipe = recipe_of(process, [found[name] for name in names], own)
    return ExactSampler(process=process, columns=names, recipe=recipe)
