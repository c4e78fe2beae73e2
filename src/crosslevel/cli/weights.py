"""What `--weights` means: KIND:COLUMN, because a column alone says nothing of how it is to be read."""

from collections.abc import Sequence
from typing import cast

from crosslevel.errors import CrosslevelError
from crosslevel.weights import Frequency, Precision, Sampling, Scaling, Weights

KINDS = ("precision", "frequency", "sampling")


def weights_of(text: str | None, clusters: Sequence[str], scaling: str | None) -> Weights | None:
    """Weights as given on the command line.

    Parameters
    ----------
    text : "precision:w", "frequency:w" or "sampling:w"; None for none.
    clusters : weights of clusters, each "school:w2"; only with sampling weights.
    scaling : "size", "effective" or "none"; only with sampling weights.

    Raises
    ------
    CrosslevelError : another kind, no column, or options that belong to sampling weights only.

    Examples
    --------
    >>> weights_of("sampling:w", ["school:w2"], None)
    Sampling(rows='w', clusters=mappingproxy({'school': 'w2'}), scaling='size')
    """
    kind, _, column = (text or "").partition(":")
    if kind != "sampling" and (clusters or scaling is not None):
        raise CrosslevelError(
            "`--cluster-weights` and `--scaling` belong to sampling weights; write --weights sampling:COLUMN."
        )
    if text is None:
        return None
    if kind not in KINDS or not column:
        listed = " or ".join(f"{name}:COLUMN" for name in KINDS)
        raise CrosslevelError(f"`--weights` is {listed}: what a weight means is never guessed; got {text!r}.")
    if kind != "sampling":
        return Precision(column) if kind == "precision" else Frequency(column)
    pairs = [one.partition(":") for one in clusters]
    wrong = [name for name, mark, weight in pairs if not mark or not weight]
    if wrong:
        raise CrosslevelError(f"`--cluster-weights` is GROUP:COLUMN; got {wrong[0]!r}.")
    named = {name: weight for name, _, weight in pairs}
    return Sampling(column, clusters=named, scaling=cast(Scaling, scaling or "size"))
