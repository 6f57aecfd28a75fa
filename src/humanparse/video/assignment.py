"""Who belongs to whom: the assignment of greatest worth, by the Hungarian method.

The form with shortest augmenting paths (Jonker and Volgenant 1987). SciPy has one, but SciPy is no
part of the core.
"""

from __future__ import annotations

import numpy as np


def best_pairs(worth: np.ndarray) -> list[tuple[int, int]]:
    """Pair rows with columns, one to one, so that the sum of what the pairs are worth is greatest.

    Args:
        worth: Float (M, N); what is worth 0 or less is never paired.

    Returns:
        (row, column) of each pair, by rising row.
    """
    if worth.shape[0] > worth.shape[1]:
        return sorted((row, column) for column, row in best_pairs(worth.T))
    cost = -np.maximum(worth, 0).astype(np.float64)  # M ≤ N: each row finds a column
    rows, columns = cost.shape
    # Row 0 and column 0 are where each path begins.
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    taken_by = np.zeros(columns + 1, int)  # the row of each column
    for row in range(1, rows + 1):
        _augment(row, cost, row_price, column_price, taken_by)
    pairs = ((int(row) - 1, column) for column, row in enumerate(taken_by[1:]) if row)
    return sorted((row, column) for row, column in pairs if worth[row, column] > 0)


def _augment(
    row: int,
    cost: np.ndarray,
    row_price: np.ndarray,
    column_price: np.ndarray,
    taken_by: np.ndarray,
) -> None:
    """Give a row a column by the cheapest path, on which other rows may change theirs; in place."""
    columns = cost.shape[1]
    least = np.full(columns + 1, np.inf)
    came_from = np.zeros(columns + 1, int)
    done = np.zeros(columns + 1, bool)
    taken_by[0], column = row, 0
    while taken_by[column]:
        done[column] = True
        here = taken_by[column]
        reduced = cost[here - 1] - row_price[here] - column_price[1:]
        better = ~done[1:] & (reduced < least[1:])
        least[1:][better], came_from[1:][better] = reduced[better], column
        following = int(np.where(done[1:], np.inf, least[1:]).argmin()) + 1
        step = least[following]
        row_price[taken_by[done]] += step
        column_price[done] -= step
        least[~done] -= step
        column = following
    while column:
        taken_by[column], column = taken_by[came_from[column]], came_from[column]
