"""Sends a stage's log to TensorBoard, Weights & Biases or MLflow as well, through accelerate's trackers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RecipeError
from pipeline.training.metrics_log import MetricsLog

if TYPE_CHECKING:
    from pipeline.recipe.training import TrainingConfig

FOLDER = "tracking"


def check_tracking(tracking: str, *, where: str = "training") -> None:
    """Raise ``RecipeError`` where the library is missing of the tracker in the recipe's section ``where``."""
    if find_spec(tracking) is None:
        raise RecipeError(
            f"{where}.tracking: {tracking} is not installed; install it with: python -m pip install {tracking}, "
            "or leave tracking out"
        )


class TrackedLog(MetricsLog):
    """A log whose lines are sent on to a tracker, which is opened with the first of them.

    ``run_dir`` is the run's folder: its name is the tracker's project, ``tracking/STAGE`` below it holds TensorBoard's
    files. A stage begun anew replaces them; one that resumes hides what it had sent beyond its last save.
    """

    def __init__(self, path: Path, *, tracking: str, run_dir: Path, stage: str, writes: bool = True) -> None:
        super().__init__(path, writes=writes)
        check_tracking(tracking)
        self.tracking = tracking
        self.run_dir = run_dir.absolute()
        self.stage = stage
        self._tracker: Any = None

    def __call__(self, step: int, **values: Any) -> None:
        """Append one line, and send the numbers in it."""
        if not self.writes:
            return
        if self._tracker is None:
            self._tracker = self._open(step, is_begun=self.position() > 0)
        super().__call__(step, **values)
        numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
        self._tracker.log(numbers, step=step)

    def close(self) -> None:
        """Let the tracker finish, if anything was sent."""
        if self._tracker is not None:
            self._tracker.finish()
            self._tracker = None

    def _open(self, step: int, *, is_begun: bool) -> Any:
        from accelerate import tracking

        folder = self.run_dir / FOLDER
        if self.tracking == "tensorboard":
            if not is_begun and (folder / self.stage).exists():
                shutil.rmtree(folder / self.stage)
            tracker: Any = tracking.TensorBoardTracker(self.stage, folder, purge_step=step)
        elif self.tracking == "wandb":
            folder.mkdir(exist_ok=True)
            tracker = tracking.WandBTracker(self.run_dir.name, name=self.stage, dir=str(folder))
        else:
            tracker = tracking.MLflowTracker(self.run_dir.name, run_name=self.stage)
        tracker.start()
        return tracker


@contextmanager
def stage_log(config: TrainingConfig, path: Path, *, run_dir: Path, stage: str, writes: bool) -> Iterator[MetricsLog]:
    """Give the log that ``config`` asks for while in the block; the tracker, if there is one, is finished after it."""
    if config.tracking is None:
        yield MetricsLog(path, writes=writes)
        return
    log = TrackedLog(path, tracking=config.tracking, run_dir=run_dir, stage=stage, writes=writes)
    try:
        yield log
    finally:
        log.close()
