"""Variances of sums of random effects of several grouping factors, given the data."""

import numba
import numpy as np

from crosslevel.types import BoolArray, CodeArray, FloatArray, IntArray


@numba.njit(cache=True, nogil=True, error_model="numpy")
def combination_variances(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    owner: CodeArray,
    diagonal: FloatArray,
    rows: FloatArray,
    inverse: FloatArray,
    order: IntArray,
    node: IntArray,
    node_slot: IntArray,
    node_value: FloatArray,
    place: IntArray,
    place_slot: IntArray,
    place_value: FloatArray,
    n_nodes: int,
    variance_out: FloatArray,
) -> None:
    """v'M^-1 v of L sparse vectors v, each with coefficients at a few levels that need never have met.

    L^-1 v is worked out for the eliminated levels that v touches, once for all vectors that touch the same ones; what
    they leave to the dense part is a combination of its columns, whose inverse is known.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start, owner : the pattern, see `kernels.elimination`.
    diagonal, rows : T and V from `eliminate`.
    inverse : (D, D) lower triangle of the dense part's inverse.
    order : (L,) order of the vectors in which those that touch the same eliminated levels stand together.
    node : (L, S) eliminated levels (nodes) that v touches, -1 for none.
    node_slot : (S + 1,) which columns of `node_value` belong to each.
    node_value : (L, R) coefficients there.
    place, place_slot, place_value : (L, T), (T + 1,), (L, U) the same of the first columns in the dense part.
    n_nodes : how many nodes a vector can touch at most, with those its own touch in turn.
    variance_out : (L,).
    """
    n_sides, n_dense, widest = node_value.shape[1], inverse.shape[0], 0
    for n in range(len(row_start)):
        widest = max(widest, first[n + 1] - first[n])
    found = np.empty(n_nodes, dtype=np.int64)
    x = np.empty((n_nodes, widest, n_sides))
    half, gram = np.zeros((n_dense, n_sides)), np.empty((n_sides, n_sides))
    touched, is_touched = np.empty(n_dense, dtype=np.int64), np.zeros(n_dense, dtype=np.bool_)
    combined, n_touched = np.empty(n_dense), 0
    at, weight = np.empty(place_value.shape[1], dtype=np.int64), np.empty(place_value.shape[1])
    for rank in range(len(order)):
        i = order[rank]
        same = rank > 0
        if same:
            for s in range(node.shape[1]):
                same = same and node[i, s] == node[order[rank - 1], s]
        if not same:
            for a in range(n_touched):
                is_touched[touched[a]] = False
                for m in range(n_sides):
                    half[touched[a], m] = 0.0
            n_touched = substitute_levels(
                first, start, column, row_start, diagonal_start, owner, diagonal, rows, node[i], node_slot,
                found, x, half, touched, is_touched, gram,
            )  # fmt: skip
            add_dense_part(inverse, touched, n_touched, half, gram)

        # the eliminated levels
        variance = 0.0
        for m in range(n_sides):
            for k in range(n_sides):
                variance += node_value[i, m] * gram[m, k] * node_value[i, k]
        # the dense part
        n_own = 0
        for s in range(place.shape[1]):
            if place[i, s] >= 0:
                for k in range(place_slot[s], place_slot[s + 1]):
                    at[n_own] = place[i, s] + k - place_slot[s]
                    weight[n_own] = place_value[i, k]
                    n_own += 1
        if n_own > 0:
            for a in range(n_touched):
                combined[a] = 0.0
                for m in range(n_sides):
                    combined[a] += half[touched[a], m] * node_value[i, m]
        for b in range(n_own):
            value = 0.0
            for a in range(n_touched):
                value += 2.0 * inverse[max(at[b], touched[a]), min(at[b], touched[a])] * combined[a]
            for c in range(n_own):
                value += inverse[max(at[b], at[c]), min(at[b], at[c])] * weight[c]
            variance += weight[b] * value
        variance_out[i] = variance


@numba.njit(cache=True, nogil=True, error_model="numpy")
def substitute_levels(
    first: IntArray,
    start: IntArray,
    column: CodeArray,
    row_start: IntArray,
    diagonal_start: IntArray,
    owner: CodeArray,
    diagonal: FloatArray,
    rows: FloatArray,
    node: IntArray,
    node_slot: IntArray,
    found: IntArray,
    x: FloatArray,
    half_out: FloatArray,
    touched_out: IntArray,
    is_touched_out: BoolArray,
    gram_out: FloatArray,
) -> int:
    """L^-1 E for the unit columns E (N, R) of a few eliminated levels: inner products, and what is left over.

    Parameters
    ----------
    first, start, column, row_start, diagonal_start, owner, diagonal, rows : see `combination_variances`.
    node, node_slot : (S,) levels, -1 for none, and (S + 1,) which of the R columns belong to each.
    found, x : scratch, (n,) and (n, q, R) with n nodes at most.
    half_out : (D, R) zeros; becomes what is left to the dense part.
    touched_out, is_touched_out : (D,) the rows of it that are not zero, listed and, from all false, marked.
    gram_out : (R, R) inner products over the eliminated levels.

    Returns
    -------
    Number of rows of the dense part that are touched.
    """
    n_lead, n_sides = first[len(row_start)], x.shape[2]
    n_found, n_touched = 0, 0
    for m in range(n_sides):
        for k in range(n_sides):
            gram_out[m, k] = 0.0
    for s in range(len(node)):
        if node[s] >= 0:
            a = 0
            while a < n_found and found[a] != node[s]:
                a += 1
            if a == n_found:
                n_found = open_node(node[s], n_found, found, x)
            for m in range(node_slot[s], node_slot[s + 1]):
                x[a, m - node_slot[s], m] = 1.0
    n_done = 0
    while n_done < n_found:
        # the earliest of the nodes that are left, put first
        a = n_done
        for b in range(n_done + 1, n_found):
            if found[b] < found[a]:
                a = b
        n = found[a]
        q = first[n + 1] - first[n]
        d, r = diagonal_start[n], row_start[n]
        if a != n_done:
            found[a], found[n_done] = found[n_done], n
            for i in range(x.shape[1]):
                for m in range(n_sides):
                    x[a, i, m], x[n_done, i, m] = x[n_done, i, m], x[a, i, m]
        for m in range(n_sides):
            for i in range(q):
                value = x[n_done, i, m]
                for k in range(i):
                    value -= diagonal[d + i * q + k] * x[n_done, k, m]
                x[n_done, i, m] = value / diagonal[d + i * q + i]
        for m in range(n_sides):
            for k in range(n_sides):
                for i in range(q):
                    gram_out[m, k] += x[n_done, i, m] * x[n_done, i, k]
        for e in range(start[n], start[n + 1]):
            c, at = column[e], r + (e - start[n]) * q
            if c < n_lead:
                target, b = owner[c], n_done + 1
                while b < n_found and found[b] != target:
                    b += 1
                if b == n_found:
                    n_found = open_node(target, n_found, found, x)
                for i in range(q):
                    for m in range(n_sides):
                        x[b, c - first[target], m] -= rows[at + i] * x[n_done, i, m]
            else:
                c -= n_lead
                if not is_touched_out[c]:
                    is_touched_out[c] = True
                    touched_out[n_touched] = c
                    n_touched += 1
                for i in range(q):
                    for m in range(n_sides):
                        half_out[c, m] -= rows[at + i] * x[n_done, i, m]
        n_done += 1
    return n_touched


@numba.njit(cache=True, nogil=True, error_model="numpy")
def open_node(node: int, n_found: int, found_out: IntArray, x_out: FloatArray) -> int:
    """Append a node to the list of those found, with zeros in its block of x; the number of those found."""
    found_out[n_found] = node
    for i in range(x_out.shape[1]):
        for m in range(x_out.shape[2]):
            x_out[n_found, i, m] = 0.0
    return n_found + 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_dense_part(
    inverse: FloatArray, touched: IntArray, n_touched: int, half: FloatArray, gram_out: FloatArray
) -> None:
    """Add half' S^-1 half to gram, for the rows of half (D, R) that are touched; `inverse` has the lower triangle."""
    n_sides = half.shape[1]
    product = np.empty(n_sides)
    for a in range(n_touched):
        for m in range(n_sides):
            product[m] = 0.0
        for b in range(n_touched):
            value = inverse[max(touched[a], touched[b]), min(touched[a], touched[b])]
            for m in range(n_sides):
                product[m] += value * half[touched[b], m]
        for m in range(n_sides):
            for k in range(n_sides):
                gram_out[m, k] += half[touched[a], m] * product[k]
