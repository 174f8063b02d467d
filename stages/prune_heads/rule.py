"""NNI's rule from blocks to heads: when is a head whose blocks are partly masked gone?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def live_heads(bands: Sequence[Tensor]) -> Tensor:
    """Return which heads live, ``(num_heads,)`` bool, given which blocks do.

    ``bands`` holds, for q, k, v and o, a bool tensor ``(num_heads, slices, blocks)``: the head's channels in slices
    of a block's side, and the blocks along the other axis. A slice lives if it has a live block in the outputs of q,
    of k, of v *and* in the inputs of o; a head with a live slice is kept whole, one without is gone.
    """
    return torch.stack([band.any(dim=-1) for band in bands]).all(dim=0).any(dim=-1)


def death_ranks(bands: Sequence[Tensor]) -> Tensor:
    """Return the rank of the block with which each head dies, ``(num_heads,)``, when blocks go in order of rank.

    ``bands`` is shaped as for ``live_heads`` and holds the blocks' ranks. A slice dies with the first of its bands
    to lose its last block, a head with its last slice. No two heads share a rank, so heads die one at a time.
    """
    return torch.stack([band.amax(dim=-1) for band in bands]).amin(dim=0).amax(dim=-1)
