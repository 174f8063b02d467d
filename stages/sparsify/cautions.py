"""What a person should know about the layers chosen before anything is trained, each in one line."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from stages.sparsify.blocks import Blocks
from stages.sparsify.domains import Domain, described


def cautions(model: nn.Module, domains: Sequence[Domain]) -> list[str]:
    """Return lines for layers that stay dense, locks that find no zeros, embeddings that lose their rare rows."""
    by_domains = _undivided(domains), _unlocked(domains)
    return [line for line in (*by_domains, _computed(model), faded_embeddings(model, domains)) if line]


def _undivided(domains: Sequence[Domain]) -> str:
    dense = [described(weight) for domain in domains for weight in domain.dense]
    patterns = " and ".join(sorted({domain.settings.pattern for domain in domains if domain.dense}))
    return f"{patterns} does not divide these layers, which stay dense: {', '.join(dense)}" if dense else ""


def _computed(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if is_parametrized(module, "weight")]
    if not names:
        return ""
    return (
        "the weights of these layers are computed from others by a parametrization, and stay dense: "
        f"{', '.join(names)}; torch.nn.utils.parametrize.remove_parametrizations makes them weights again"
    )


def _unlocked(domains: Sequence[Domain]) -> str:
    weights = [blocks.weight for domain in domains if domain.settings.pattern_lock for blocks in domain.layers]
    if not weights or any(bool((weight.parameter == 0).any()) for weight in weights):
        return ""
    others = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
    return (
        f"pattern_lock keeps the zeros that are there, and there are none in {weights[0].name}{others}: nothing is "
        "made sparse; a stage that trains undoes the zeros of one before it"
    )


def faded_embeddings(model: nn.Module, domains: Sequence[Domain]) -> str:
    """Return a line that names the embeddings judged by gradients, and the way out; "" where there are none.

    One whose weights are the output layer's, too, has a gradient in every row at every step, and is none of them.
    """
    multiplied = {
        id(parameter)
        for module in model.modules()
        if not isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }

    def fades(domain: Domain, blocks: Blocks) -> bool:
        settings, weight = domain.settings, blocks.weight
        chooses = settings.sparsity > 0 and not settings.pattern_lock and settings.criterion != "magnitude"
        return chooses and weight.layer_type == "Embedding" and id(weight.parameter) not in multiplied

    found = [(domain, blocks) for domain in domains for blocks in domain.layers if fades(domain, blocks)]
    if not found:
        return ""
    criteria = " and ".join(sorted({domain.settings.criterion for domain, _ in found}))
    names = ", ".join(blocks.weight.name for _, blocks in found)
    return (
        f"{criteria} drops rare rows of these embeddings whole, whatever they are worth, for a row has a gradient only "
        f"in the steps that show it: {names}; give them a group of their own with criterion: magnitude"
    )
