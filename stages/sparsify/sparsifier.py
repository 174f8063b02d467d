"""The pruner of single weights: masks by blocks, on a schedule, in any training loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from stages.sparsify.allocation import even_counts, ranked_counts
from stages.sparsify.cautions import cautions
from stages.sparsify.config import SparsifyConfig
from stages.sparsify.course import Course, resolve_course
from stages.sparsify.domains import Domain, build_domains
from stages.sparsify.masked_weight import MaskedWeight
from stages.sparsify.settings import resolve_domains
from stages.state import check_names, copy_into

logger = logging.getLogger(__name__)

SCHEDULED = {"begin": "begin", "end": "end", "start_step": "begin", "end_step": "end", "every": "every"}
SCHEDULED |= {"kind": "kind", "power": "power"}
CHANGEABLE = ("sparsity", "initial_sparsity", "max_sparsity_per_layer", "min_sparsity_per_layer", "group_lasso")


class Sparsifier:
    """A ``Pruner`` that writes zeros into the weights of any model while it trains.

    In a loop of one's own, ``step`` counting optimizer steps from 0::

        pruner = Sparsifier(model, SparsifyConfig(sparsity=0.9, pattern="4x1"), num_steps=len(loader) * epochs)
        for step, batch in enumerate(batches):
            model(**batch).loss.backward()
            pruner.before_optimizer_step(step)
            optimizer.step()
            pruner.after_optimizer_step(step, lr)
            optimizer.zero_grad()
        pruner.finish()

    At each update every block is judged anew, masked ones too, but what is gone does not come back while the share does
    not fall: no raw weight is kept behind a mask, so a masked block scores zero by magnitude and by snip, and by
    snip_momentum it earns nothing more while no other loses its memory faster (0.9 a step). Equal scores go by whether
    they are masked already, then by their place. Nothing changes after the schedule's end.
    """

    def __init__(
        self, model: nn.Module, config: SparsifyConfig | Mapping[str, Any], *, num_steps: int | None = None
    ) -> None:
        """Find the weights to touch; ``num_steps`` may be left out where the schedule counts steps.

        Raises ``ValueError`` for settings that do not fit the model. Layers that the pattern does not divide stay
        dense, and one warning names them all; another names the embeddings that a criterion of gradients spoils.
        """
        self.model = model
        self.config = config if isinstance(config, SparsifyConfig) else _config(dict(config))
        self.num_steps = num_steps
        self.domains = build_domains(model, self.config)
        self._weights = [_masked(domain) for domain in self.domains]
        self._courses = self._resolve(self.domains)
        self._done = 0
        for line in cautions(model, self.domains):
            logger.warning("%s", line)

    @torch.no_grad()
    def before_optimizer_step(self, step: int) -> None:
        """Read the gradients of ``step``, and zero those of weights that are masked."""
        for domain, course, weights in self._parts():
            criterion = domain.settings.criterion
            observes = criterion == "snip_momentum" and step < course.last
            observes |= criterion == "snip" and course.is_due(step + 1)
            for weight in weights:
                weight.follow_device()
                if observes and not domain.settings.pattern_lock:
                    weight.observe()
                weight.mask_gradient()

    @torch.no_grad()
    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Mask, take group lasso's proximal step, and choose anew if an update is due after ``step``."""
        for domain, course, weights in self._parts():
            amount = 0.0 if domain.settings.pattern_lock else lr * domain.settings.group_lasso
            for weight in weights:
                weight.follow_device()
                weight.write()
                if amount > 0 and step < course.last:
                    weight.shrink(amount)
            if course.is_due(step + 1) and not domain.settings.pattern_lock:
                _choose(domain, weights, course.share(step + 1))
        self._done = step + 1

    @torch.no_grad()
    def finish(self) -> None:
        """Write the masks for good; there are no units to tell of."""
        for weight in self._all():
            weight.follow_device()
            weight.write_zeros()

    def update(self, **settings: Any) -> None:
        """Change settings that the layers do not depend on, for the stage and all its groups.

        ``begin`` and ``end`` (also ``start_step`` and ``end_step``), ``every``, ``kind``, ``power``, ``sparsity``,
        ``initial_sparsity``, ``max_sparsity_per_layer``, ``min_sparsity_per_layer``, ``group_lasso``, ``num_steps``.
        Raises ``ValueError`` for any other name, for a value that does not fit, and for a schedule that is over by the
        step reached and would have chosen otherwise; then nothing changes.
        """
        allowed = (*SCHEDULED, *CHANGEABLE, "num_steps")
        if unknown := sorted(settings.keys() - set(allowed)):
            raise ValueError(f"{unknown[0]}: cannot be changed in a pruner; what can is {', '.join(allowed)}")
        document = self.config.model_dump()
        num_steps = settings.pop("num_steps", self.num_steps)
        for name, value in settings.items():
            for part in (document, *document["groups"]):
                target = part["schedule"] if name in SCHEDULED else part
                if target is not None:
                    target[SCHEDULED.get(name, name)] = value if part is document else None
        config, before = _config(document), (self.config, self.num_steps)
        resolved = {domain.label: domain for domain in resolve_domains(config)}
        domains = [Domain(resolved[d.settings.label], d.layers, d.dense) for d in self.domains]
        self.config, self.num_steps = config, num_steps
        try:
            courses = self._resolve(domains)
            for old, new in zip(self._courses, courses, strict=True):
                if new.last <= self._done and new.final != old.share(self._done):
                    raise ValueError(f"schedule: must end after step {self._done}, which is reached, got {new.last}")
            self._courses = courses
        except ValueError:
            self.config, self.num_steps = before
            raise
        self.domains = domains

    def masks(self) -> dict[str, Tensor]:
        """Return by parameter name which weights are kept, bool, each in the shape of its parameter."""
        return {weight.blocks.weight.parameter_name: weight.keep_mask() for weight in self._all()}

    def kept(self) -> dict[str, Tensor]:
        """Return by parameter name which blocks are kept, bool, an entry per block (per weight with N of M)."""
        return {weight.blocks.weight.parameter_name: weight.kept for weight in self._all()}

    def parameter_names(self) -> frozenset[str]:
        """Return the names of the parameters touched."""
        return frozenset(weight.blocks.weight.parameter_name for weight in self._all())

    def layers(self) -> Iterator[tuple[Domain, MaskedWeight]]:
        """Yield every weight touched, with the domain it belongs to."""
        for domain, _, weights in self._parts():
            yield from ((domain, weight) for weight in weights)

    def span(self) -> tuple[int, int] | None:
        """Return the step at which the first schedule begins and the one after which no mask changes; None: none do."""
        chosen = [course for domain, course, _ in self._parts() if not domain.settings.pattern_lock]
        return (min(c.begin for c in chosen), max(c.last for c in chosen)) if chosen else None

    def asked(self, step: int) -> float:
        """Return the share of the weights touched that the schedules ask for after ``step`` steps, locked ones too."""
        zeros = (
            sum(weight.num_removed for weight in weights)
            if domain.settings.pattern_lock
            else course.share(step) * domain.num_weights
            for domain, course, weights in self._parts()
        )
        return sum(zeros) / max(1, self.num_touched)

    def logs(self) -> dict[str, float]:
        """Return ``weights_removed``, the share of the weights touched that is masked."""
        touched = self.num_touched
        return {"weights_removed": sum(weight.num_removed for weight in self._all()) / touched} if touched else {}

    @property
    def num_touched(self) -> int:
        """The weights of all layers together."""
        return sum(domain.num_weights for domain in self.domains)

    def state_dict(self) -> dict[str, Tensor]:
        """Return which blocks are ``kept`` and, of snip_momentum, their ``scores``, by parameter name.

        Settings are not among them: who resumes builds the pruner with those that ``update`` left.
        """
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned, and mask the weights by it; ``ValueError`` when it does not fit."""
        own = self._tensors()
        check_names(state, own.keys())
        for name, tensor in own.items():
            copy_into(tensor, name, state[name])
        for weight in self._all():
            weight.follow_device()
            weight.recount()
            weight.write()

    def _resolve(self, domains: list[Domain]) -> list[Course]:
        """Return the courses of ``domains``; raises ``ValueError`` where a target cannot be reached."""
        courses = []
        for domain in domains:
            settings = domain.settings
            try:
                course = resolve_course(settings.schedule, settings.initial_sparsity, settings.sparsity, self.num_steps)
            except ValueError as error:
                raise ValueError(f"{settings.label}{error}") from None
            if not settings.pattern_lock:
                domain.limits(settings.sparsity)
            courses.append(course)
        return courses

    def _parts(self) -> Iterator[tuple[Domain, Course, list[MaskedWeight]]]:
        yield from zip(self.domains, self._courses, self._weights, strict=True)

    def _all(self) -> Iterator[MaskedWeight]:
        for weights in self._weights:
            yield from weights

    def _tensors(self) -> dict[str, Tensor]:
        kept = {f"kept.{name}": kept for name, kept in self.kept().items()}
        remembering = [weight for weight in self._all() if weight.has_memory]
        scores = {f"scores.{weight.blocks.weight.parameter_name}": weight.scores for weight in remembering}
        return {**kept, **{name: tensor for name, tensor in scores.items() if tensor is not None}}


def _masked(domain: Domain) -> list[MaskedWeight]:
    settings = domain.settings
    return [MaskedWeight(blocks, settings.criterion, is_locked=settings.pattern_lock) for blocks in domain.layers]


def _choose(domain: Domain, weights: list[MaskedWeight], share: float) -> None:
    """Mask the blocks that go at ``share`` and no others, and write the masks."""
    limits, target = domain.limits(share)
    rankings = [weight.ranking(domain.settings.reduce) for weight in weights]
    if domain.settings.scope == "local":
        counts = even_counts(limits, target)
    else:
        counts = ranked_counts(rankings, limits, target)
    for weight, count, ranking in zip(weights, counts, rankings, strict=True):
        weight.remove(count, ranking)
        weight.forget()
        weight.write()


def _config(settings: dict[str, Any]) -> SparsifyConfig:
    """Return the config; raises ``ValueError`` with one line for the first setting that is wrong."""
    try:
        return SparsifyConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        got = "" if ", got " in message else f", got {first['input']!r}"
        raise ValueError(f"{path}: {message}{got}" if path else message) from None
