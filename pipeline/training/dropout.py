"""Dropout as a stage wants it, whatever the model came with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

ATTENTION_RATES = ("attention_dropout",)
"""Attributes by which attention modules of ViT and DeiT hold their rate as a number, without a module of its own."""


@contextmanager
def dropout_rate(model: nn.Module, rate: float | None) -> Iterator[None]:
    """Have every dropout layer of ``model`` drop with probability ``rate``; afterwards each has its own again.

    None leaves them alone. The config keeps what it says: it is about the model, and this about one stage.
    """
    places = [] if rate is None else [*_places(model)]
    before = [getattr(module, name) for module, name in places]
    for module, name in places:
        setattr(module, name, rate)
    try:
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)


def _places(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield every module with the attribute that holds its rate."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            yield module, "p"
        yield from ((module, name) for name in ATTENTION_RATES if isinstance(getattr(module, name, None), (float, int)))
