"""Intel Neural Compressor 1.x: ``pruning.approach.weight_compression`` with its list of ``!Pruner``."""

from __future__ import annotations

from typing import Any

from pipeline.convert import intel_terms as terms
from pipeline.convert.domain import Domain, Length, Translated
from pipeline.convert.intel_training import read_head, read_train
from pipeline.convert.layer_names import of_weight
from pipeline.convert.section import Section

TOOL = "Intel Neural Compressor 1.x"
SECTIONS = ("weight_compression", "weight_compression_pytorch")
EPOCH_KEYS = ("start_epoch", "end_epoch", "update_frequency")
STEP_KEYS = ("start_step", "end_step", "update_frequency_on_step")
EXCLUDED = ("excluded_names", "extra_excluded_names", "exclude_names", "not_to_prune_names")
"""The first two are of the files, the others what the tool's own class calls them."""
DEFAULT_END_EPOCH = 4
DEFAULT_TARGET = 0.97


def translate(root: Section, *, steps_per_epoch: int | None = None) -> Translated:
    """Return what a file of the first form says; mistakes and notes go to its ledger.

    Of the two sections, ``weight_compression`` counts epochs and names weights; ``weight_compression_pytorch`` counts
    steps and finds layers by regular expressions.
    """
    seed = read_head(root)
    pruning = root.inner("pruning")
    assert pruning is not None, "a file of this form was told by what it holds under pruning"
    train = pruning.inner("train") or root.inner("train")
    length, training = read_train(train)
    approach = pruning.inner("approach")
    assert approach is not None, "a file of this form was told by its approach"
    name = next(key for key in SECTIONS if key in approach)
    compression = approach.inner(name)
    for section in (root, pruning, approach):
        section.take("train")
        section.close()
    if compression is None:
        return Translated(TOOL, ())
    by_steps = name == SECTIONS[1]
    pruners = compression.inners("pruners") or [compression.without(*compression)]
    shared = compression.without("pruners")
    merged = [pruner.over(shared) for pruner in pruners]
    epochs = length.epochs or float(max(1, *(_end_epoch(section) for section in merged)))
    domains = tuple(_domain(section, None if by_steps else epochs, steps_per_epoch) for section in merged)
    length = terms.how_long(length, domains, compression)
    if not by_steps and not length.is_given:
        length = Length(epochs=epochs)
    return Translated(TOOL, domains, length, training, seed)


def _end_epoch(section: Section) -> int:
    return section.integer("end_epoch", DEFAULT_END_EPOCH)


def _domain(section: Section, epochs: float | None, steps_per_epoch: int | None) -> Domain:
    """Return what a pruner says; without ``epochs`` it counts steps."""
    by_steps = epochs is None
    pattern = terms.pattern(section, "4x1" if by_steps else "1x1")
    others: dict[str, Any] = {
        "sparsity": terms.target(section, DEFAULT_TARGET, pattern),
        "initial_sparsity": section.number("initial_sparsity", 0.0, high=1.0),
        "pattern": pattern,
        "scope": section.choice("prune_domain", terms.SCOPES, "global" if by_steps else "local"),
        "schedule": _by_steps(section) if epochs is None else _by_epochs(section, epochs, steps_per_epoch),
        "max_sparsity_per_layer": section.number("max_sparsity_ratio_per_layer", 0.98, high=1.0),
        "min_sparsity_per_layer": section.number("min_sparsity_ratio_per_layer", 0.0, high=1.0),
    }
    section.refuse("method", "must be per_tensor", unless=("per_tensor",))
    section.refuse("parameters", "must be taken out: they belong to gradient_sensitivity", unless=({},))
    settings = terms.settings(section, "prune_type", "snip_momentum" if by_steps else "magnitude", others)
    layers = _layers(section, by_steps)
    section.close()
    return Domain(settings, layers)


def _by_steps(section: Section) -> dict[str, Any]:
    decay = section.choice("sparsity_decay_type", terms.DECAYS, "exp")
    every = section.integer("update_frequency_on_step", 1, low=1)
    begin, end = section.integer("start_step", 0), section.integer("end_step", 0)
    section.leave_out("update_frequency", "update_frequency_on_step is the one that counts steps")
    for name in ("start_epoch", "end_epoch"):
        section.refuse(name, f"must be {name.replace('epoch', 'step')}: weight_compression_pytorch counts steps")
    return terms.schedule(section, begin, end, decay, every)


def _by_epochs(section: Section, length: float, steps_per_epoch: int | None) -> dict[str, Any]:
    """Return the schedule as shares of the stage; with epochs it climbs linearly, whatever else the file says."""
    begin, end = section.integer("start_epoch", 0), _end_epoch(section)
    for name in STEP_KEYS:
        section.refuse(name, "must be taken out: weight_compression counts epochs", unless=(0, 1))
    section.leave_out("sparsity_decay_type", "with epochs the share climbs linearly")
    epochs = section.number("update_frequency", 1.0)
    if steps_per_epoch is None and "update_frequency" in section:
        section.note("update_frequency", "left out: it counts epochs and every counts steps; say --steps-per-epoch")
    every = None if steps_per_epoch is None else max(1, round(epochs * steps_per_epoch))
    if max(begin, end) > length:
        section.mistake("end_epoch", f"must be within the {length:g} epochs trained, got {max(begin, end)}")
        return {}
    return terms.schedule(section, begin / length, end / length, "linear", every)


def _layers(section: Section, by_steps: bool) -> dict[str, Any]:
    types = terms.layer_types(section, "prune_layer_type", ("Conv2d", "Linear") if by_steps else ("Conv", "Linear"))
    excluded = [name for key in EXCLUDED for name in section.texts(key)]
    names = section.texts("names")
    if by_steps:
        return terms.layers(section, "names", types, names, excluded)
    try:
        return terms.layers(section, "names", types, [of_weight(name) for name in names], excluded)
    except ValueError as error:
        section.mistake("names", str(error))
        return {}
