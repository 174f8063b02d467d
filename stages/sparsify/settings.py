"""The settings of each domain: the stage's, and those of a group, which win; light, for recipes are checked by it."""

from __future__ import annotations

from dataclasses import dataclass

from stages.schedules import check_span
from stages.sparsify.config import Criterion, GroupConfig, LayerChoice, Reduce, Scope, SparsifyConfig, SparsitySchedule
from stages.sparsify.pattern import parse_pattern

OVERRIDES = (
    "sparsity",
    "initial_sparsity",
    "criterion",
    "pattern",
    "reduce",
    "scope",
    "max_sparsity_per_layer",
    "min_sparsity_per_layer",
    "group_lasso",
    "pattern_lock",
)
"""What a group may say for itself, apart from its layers and its schedule."""


@dataclass(frozen=True)
class DomainSettings:
    """The settings of one domain, resolved; ``label`` is where a recipe gives them, such as ``groups[0].``."""

    label: str
    choice: LayerChoice
    schedule: SparsitySchedule
    sparsity: float
    initial_sparsity: float
    criterion: Criterion
    pattern: str
    reduce: Reduce
    scope: Scope
    max_sparsity_per_layer: float
    min_sparsity_per_layer: float
    group_lasso: float
    pattern_lock: bool


def resolve_domains(config: SparsifyConfig) -> list[DomainSettings]:
    """Return the settings of every group, in order, then those of what is left; a group's win over the stage's."""
    own = {name: getattr(config, name) for name in OVERRIDES}
    rest = DomainSettings(label="", choice=config.layers, schedule=config.schedule, **own)
    return [*(_of_group(config, index, group) for index, group in enumerate(config.groups)), rest]


def _of_group(config: SparsifyConfig, index: int, group: GroupConfig) -> DomainSettings:
    given = {name: getattr(group, name) for name in OVERRIDES}
    settings = {name: getattr(config, name) if value is None else value for name, value in given.items()}
    changes = {} if group.schedule is None else group.schedule.model_dump(exclude_none=True)
    layers = config.layers
    choice = LayerChoice(
        types=layers.types if group.types is None else group.types,
        include=group.include,
        exclude=layers.exclude if group.exclude is None else group.exclude,
    )
    schedule = config.schedule.model_copy(update=changes)
    return DomainSettings(label=f"groups[{index}].", choice=choice, schedule=schedule, **settings)


def check_settings(settings: DomainSettings) -> None:
    """Raise ``ValueError`` for a span or shares that contradict each other, or that the pattern cannot remove."""
    label, sparsity, cap = settings.label, settings.sparsity, settings.max_sparsity_per_layer
    if settings.schedule.kind != "one_shot":
        names = (f"{label}schedule.begin", f"{label}schedule.end")
        check_span(settings.schedule.begin, settings.schedule.end, names=names)
    if settings.pattern_lock:
        return
    largest = parse_pattern(settings.pattern).largest_share
    if sparsity > largest:
        raise ValueError(
            f"{label}sparsity: must be at most {largest:g}, all that pattern {settings.pattern} can remove, "
            f"got {sparsity:g}"
        )
    if sparsity > cap:
        raise ValueError(
            f"{label}sparsity: must be at most max_sparsity_per_layer ({cap:g}), got {sparsity:g}; raise the cap"
        )
    for name in ("initial_sparsity", "min_sparsity_per_layer"):
        if getattr(settings, name) > sparsity:
            raise ValueError(f"{label}{name}: must be at most sparsity ({sparsity:g}), got {getattr(settings, name):g}")
