"""Group tracks of one person by the distance of their embeddings: pair by pair, or in large sets by an index.

The index (HNSW, Malkov & Yashunin, arXiv 1603.09320, by usearch) finds the nearest rows of each row in time that grows
little faster than the number of rows. It is approximate: docs/log/curate.md#split states what it misses.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from xsheet.curate.dedup.union_find import UnionFind

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BLOCK_ROWS = 256  # rows of the distance matrix per block; bounds memory
_NEIGHBOURS = 32  # nearest rows asked for; of a person with more tracks, those connect the rest
_QUERY_ROWS = 2048  # rows per query; bounds memory
_CONNECTIVITY, _EXPANSION = 16, 128  # of the index: links of a row, and rows kept in view while one is added or sought


def cluster_rows(
    embeddings: NDArray[np.floating], max_distance: float, *, max_exact_rows: int, is_named: Mask | None = None
) -> list[list[int]]:
    """Group rows of (n, k): two rows with an RMS difference of at most `max_distance` share a group.

    Args:
        embeddings: (n, k), all of one identity model.
        max_distance: RMS difference over the k numbers.
        max_exact_rows: up to this many rows every pair is compared; more are looked up in the index.
        is_named: (n,) rows whose person is named. Two of them are not compared: their names decide.

    Returns:
        Row numbers, ascending; groups ordered by their first row.
    """
    if not len(embeddings):
        return []
    # Centred, so that squares lose little precision.
    rows = np.asarray(embeddings, np.float64) - np.mean(embeddings, axis=0, dtype=np.float64)
    limit = rows.shape[1] * max_distance**2 + 1e-9
    named = np.zeros(len(rows), np.bool_) if is_named is None else is_named
    return _all_pairs(rows, limit, named) if len(rows) <= max_exact_rows else _nearest_rows(rows, limit, named)


def _all_pairs(rows: Floats, limit: float, is_named: Mask) -> list[list[int]]:
    squares = np.square(rows).sum(axis=1)
    groups, group_of = UnionFind(range(len(rows))), np.arange(len(rows))
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        squared_distances = squares[block, None] + squares[start:] - 2 * rows[block] @ rows[start:].T
        is_near = (squared_distances <= limit) & ~(is_named[block, None] & is_named[start:])
        left, right = np.nonzero(np.triu(is_near, k=1))
        # One pair per two groups suffices; a person with thousands of tracks has millions of pairs.
        pairs = np.unique(np.stack([group_of[left + start], group_of[right + start]], axis=1), axis=0)
        for first, second in pairs[pairs[:, 0] != pairs[:, 1]].tolist():
            groups.union(first, second)
        for members in groups.groups() if len(pairs) else ():
            group_of[members] = members[0]
    return groups.groups()


def _nearest_rows(rows: Floats, limit: float, is_named: Mask) -> list[list[int]]:
    from usearch.index import Index  # noqa: PLC0415 - a native library, needed for large sets only

    vectors = rows.astype(np.float32)
    index = Index(
        ndim=rows.shape[1], metric="l2sq", dtype="f32", connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION, expansion_search=_EXPANSION,
    )  # fmt: skip
    index.add(np.arange(len(rows)), vectors, threads=1)  # several threads would link the rows in another order each run
    pairs = [np.zeros((2, 0), np.int64)]
    for start in range(0, len(rows), _QUERY_ROWS):
        found = index.search(vectors[start : start + _QUERY_ROWS], min(_NEIGHBOURS, len(rows)))
        neighbours = np.atleast_2d(np.asarray(found.keys, np.int64))  # one row alone comes without its axis
        right = neighbours.ravel()
        left = np.repeat(np.arange(start, start + len(neighbours)), neighbours.shape[1])
        is_possible = (np.ravel(found.distances) <= limit * 1.001 + 1e-6) & ~(is_named[left] & is_named[right])
        left, right = left[is_possible], right[is_possible]
        is_near = np.square(rows[left] - rows[right]).sum(axis=1) <= limit  # in double precision, as for all pairs
        pairs.append(np.stack([left[is_near], right[is_near]]))
    left, right = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(len(rows), len(rows)))
    count, labels = connected_components(graph, directed=False)
    groups = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels, minlength=count))[:-1])
    return sorted((group.tolist() for group in groups), key=lambda group: group[0])
