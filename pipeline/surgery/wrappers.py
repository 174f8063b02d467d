"""What stands around a model without being part of it."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def bare(model: Any) -> Any:
    """Return the model that ``torch.compile`` or a data parallel wrapper was given; another model as it is."""
    while True:
        if isinstance(model, (nn.DataParallel, DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            return model
