"""Forward passes of one size, so that a chunk has the same bits whoever else waits."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def row_blocks(num_rows: int, block: int) -> Iterator[torch.Tensor]:
    """Yields the rows of each forward pass, (block,); the last pass is filled up with its first row.

    >>> [rows.tolist() for rows in row_blocks(num_rows=3, block=2)]
    [[0, 1], [2, 2]]
    """
    for start in range(0, num_rows, block):
        index = torch.arange(start, start + block)
        yield torch.where(index < num_rows, index, start)
