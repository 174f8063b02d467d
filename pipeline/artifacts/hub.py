"""Which commit of a hub repository a run uses: resolved once, kept in the run folder, then the same for good."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.artifacts.commit import write_file
from pipeline.artifacts.sealed import read_sealed, seal
from pipeline.errors import RecipeError

COMMITS_FILE = "commits.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
FIELDS = {"dataset": "task.dataset", "model": "model"}


class HubCommits:
    """The commits a run has resolved; without a network those of the local hub cache are taken."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / COMMITS_FILE
        self._known: dict[str, str] = dict(read_sealed(self.path).get("commits", {}))
        self._is_changed = False

    def commit(self, kind: str, repository: str, revision: str | None) -> str:
        """Return the commit of a ``dataset`` or ``model`` repository; raises ``RecipeError`` when nothing tells."""
        revision = revision or "main"
        if COMMIT.fullmatch(revision):
            return revision
        key = f"{kind}s/{repository}@{revision}"
        if key not in self._known:
            self._known[key] = _ask_hub(kind, repository, revision)
            self._is_changed = True
        return self._known[key]

    def save(self) -> None:
        """Write what was resolved to the run folder."""
        if self._is_changed:
            write_file(self.path, seal({"commits": self._known}))
            self._is_changed = False


def _ask_hub(kind: str, repository: str, revision: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = HfApi().repo_info(repository, revision=revision, repo_type=kind, timeout=15).sha
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RecipeError(
            f"{FIELDS[kind]}: no {kind} {repository!r} at {revision!r} here or on the hub: {reason}"
        ) from error
    except Exception as error:  # the network's errors have no common class
        found = _cached_commit(kind, repository, revision)
        if found is None:
            reason = type(error).__name__
            raise RecipeError(
                f"{FIELDS[kind]}: {repository!r} is no local folder, and the hub cannot be asked for its commit "
                f"({reason}); give a folder, or a revision of 40 hexadecimal digits, or connect once"
            ) from error
    if found is None:
        raise RecipeError(f"{FIELDS[kind]}: the hub names no commit of {repository!r} at {revision!r}")
    return found


def _cached_commit(kind: str, repository: str, revision: str) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"{kind}s--{repository.replace('/', '--')}" / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else None
