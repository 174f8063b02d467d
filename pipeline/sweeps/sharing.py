"""Takes over what another run has made already: the same fingerprint is the same artifact, so its files are linked."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.artifacts.commit import commit, discard_candidate, new_candidate, writing
from pipeline.artifacts.digests import DigestCache
from pipeline.artifacts.fingerprint import fingerprint
from pipeline.artifacts.hub import COMMITS_FILE
from pipeline.artifacts.lock import RunLock
from pipeline.artifacts.run import Artifact, Run
from pipeline.artifacts.stage_folders import folder_name
from pipeline.errors import ArtifactError
from pipeline.runner.inspection import Inspector
from pipeline.runner.work import is_redo_asked

logger = logging.getLogger(__name__)

UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system answers that has no hard links, or no more of them for this file."""


def share_commits(run_dir: Path, others: Sequence[Path]) -> None:
    """Let a new run use the hub commits that another run of the sweep has resolved, so that all start from the same."""
    target = run_dir / COMMITS_FILE
    known = next((other / COMMITS_FILE for other in others if (other / COMMITS_FILE).is_file()), None)
    if known is not None and not target.exists():
        with writing(target):
            run_dir.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(known, target)


def share_stages(inspector: Inspector, others: Sequence[Path]) -> tuple[str, ...]:
    """Give the inspector's run every leading artifact that a run in ``others`` has, and return the stages' names.

    Files are hard links to read-only files, verified before; each artifact is committed like one that was just made.
    A run that redoes a stage later replaces its own links only.
    """
    shared: list[str] = []
    for index, stage in enumerate(inspector.recipe.stages):
        found, state = inspector.run.artifacts(), inspector.inspect(index).state
        if state == "fresh":
            continue
        is_unsettled = any(name not in found for name in inspector.needed_stages(index))
        is_to_be_redone = stage.name in found and is_redo_asked(inspector.run, found[stage.name])
        if state == "damaged" or is_unsettled or is_to_be_redone:
            break
        donor = next(_donors(stage.name, fingerprint(inspector.document(index)), others), None)
        if donor is None:
            break
        _take(inspector, index, donor)
        logger.info("%s: the same as in %s, linked", stage.name, donor.path.parent.name)
        shared.append(stage.name)
    return tuple(shared)


def _donors(name: str, mark: str, others: Sequence[Path]) -> Iterator[Artifact]:
    """Yield the whole artifacts of that fingerprint."""
    for path in others:
        try:
            artifact = Run.open(path).artifacts().get(name)
            if artifact is None or artifact.manifest.fingerprint != mark:
                continue
            cache = DigestCache(path)
            artifact.verify(cache)
            cache.save()
        except (ArtifactError, OSError) as error:
            logger.warning("not shared: %s", error)
            continue
        yield artifact


def _take(inspector: Inspector, index: int, donor: Artifact) -> None:
    run = inspector.run
    with writing(run.path):
        run.path.mkdir(parents=True, exist_ok=True)
    with RunLock(run.path):
        target = run.path / folder_name(index, donor.name)
        previous = run.artifacts().get(donor.name)
        try:
            candidate = new_candidate(target)
            with writing(candidate):
                for name in donor.manifest.files:
                    link(donor.path / name, candidate / name)
            commit(candidate, target, donor.manifest.to_bytes(), replaces=previous.path if previous else None)
        finally:
            discard_candidate(target)
    for name, value in donor.manifest.files.items():
        inspector.identities.files.remember(target / name, value)
    inspector.identities.save()


def link(source: Path, target: Path) -> None:
    """Make ``target`` another name of the file ``source``; a copy where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in UNLINKABLE:
            raise
        shutil.copy2(source, target)
