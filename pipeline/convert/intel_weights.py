"""Intel Neural Compressor 2.x and 3.x: the settings of a ``WeightPruningConfig``, one or a list of them."""

from __future__ import annotations

from typing import Any

from pipeline.convert import intel_terms as terms
from pipeline.convert.domain import Domain, Length, Translated
from pipeline.convert.intel_training import read_head
from pipeline.convert.section import Section
from pipeline.recipe.mistakes import shown

TOOL = "Intel Neural Compressor 2.x"
LISTS = ("pruning_configs", "local_configs", "pruners")
OWN_KEYS = (
    "pruning_type",
    "op_names",
    "excluded_op_names",
    "pruning_scope",
    "pruning_frequency",
    "min_sparsity_ratio_per_op",
    "max_sparsity_ratio_per_op",
    "pruning_op_types",
    "reg_type",
    "criterion_reduce_type",
    *LISTS[:2],
)
"""Keys by which the second form is told from the first."""
BACKENDS = (None, "None", "NA", "torch", "pytorch")


def translate(root: Section, place: tuple[str, ...]) -> Translated:
    """Return what a file of the second form says, whose settings stand below the keys of ``place``."""
    seed = read_head(root) if place else None
    section = root
    for name in place:
        inner = section.inner(name)
        if inner is None:
            return Translated(TOOL, ())
        section.close()
        section = inner
    shared = section.without(*LISTS)
    own = [config for name in LISTS for config in section.inners(name)]
    configs = [config.over(shared) for config in own] or [shared]
    domains = tuple(_domain(config) for config in configs)
    return Translated(TOOL, domains, terms.how_long(Length(), domains, section), seed=seed)


def _domain(section: Section) -> Domain:
    types = terms.layer_types(section, "pruning_op_types", ("Conv", "Linear"))
    excluded = section.texts("excluded_op_names")
    layers = terms.layers(section, "op_names", types, section.texts("op_names"), excluded)
    if not excluded:
        section.ledger.note(f"{section.origin.short()}: no layer is excluded; some versions of the tool spare the last")
    pattern = terms.pattern(section, "4x1")
    others: dict[str, Any] = {
        "sparsity": terms.target(section, 0.9, pattern),
        "pattern": pattern,
        "reduce": _reduce(section),
        "scope": section.choice("pruning_scope", terms.SCOPES, "global"),
        "schedule": _schedule(section),
        "max_sparsity_per_layer": section.number("max_sparsity_ratio_per_op", 0.98, high=1.0),
        "min_sparsity_per_layer": section.number("min_sparsity_ratio_per_op", 0.0, high=1.0),
        "group_lasso": _group_lasso(section),
    }
    settings = terms.settings(section, "pruning_type", "snip_momentum", others)
    _check_criterion(section, settings)
    resumed = "must be false: a checkpoint's zeros are kept by pruning_type: pattern_lock"
    section.refuse("resume_from_pruned_checkpoint", resumed, unless=(False, "False", "false"))
    section.refuse("backend", "must be torch", unless=BACKENDS)
    section.leave_out("low_memory_usage", "it changes no result")
    section.close()
    return Domain(settings, layers)


def _schedule(section: Section) -> dict[str, Any]:
    decay = section.choice("sparsity_decay_type", terms.DECAYS, "exp")
    every = section.integer("pruning_frequency", 1, low=1)
    return terms.schedule(section, section.integer("start_step", 0), section.integer("end_step", 0), decay, every)


def _reduce(section: Section) -> str:
    hints = {"max": "say sum or mean: a block is scored by all of its weights here"}
    older = section.choice("reduce_type", terms.REDUCES, "mean", hints)
    return section.choice("criterion_reduce_type", terms.REDUCES, older, hints)


def _group_lasso(section: Section) -> float:
    """Return the coefficient of group lasso, 0 where it is off; Intel's own form divides by the gradient's norm."""
    coefficient = section.number("reg_coeff", 0.0)
    parameters = section.inner("parameters")
    if parameters is not None:
        coefficient = parameters.number("reg_coeff", coefficient)
        parameters.close()
    kind = section.text("reg_type", "none")
    if kind == "group_lasso":
        section.note("reg_type", "the step is the proximal one, which unlike the old tool's stays finite at zero")
        return coefficient
    if kind != "none":
        section.mistake("reg_type", f"must be group_lasso or none, got {shown(kind)}")
    elif coefficient:
        section.ledger.note(
            f"{section.origin.short()}: reg_coeff: left out: it has no effect without reg_type: group_lasso"
        )
    return 0.0


def _check_criterion(section: Section, settings: dict[str, Any]) -> None:
    """Refuse a ``criterion_type`` that says otherwise than ``pruning_type``, from which the old tool derives it."""
    derived = settings.get("criterion", "snip_momentum")
    section.refuse("criterion_type", f"must be {derived}, as pruning_type says", unless=(derived,))
