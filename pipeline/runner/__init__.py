"""From a recipe to a run folder: what has to run and why, then running it, stage by stage."""

from pipeline.runner.execution import execute
from pipeline.runner.inspection import StagePlan
from pipeline.runner.listing import RunStatus, describe_run, describe_runs
from pipeline.runner.planning import Plan, build_plan

__all__ = ["Plan", "RunStatus", "StagePlan", "build_plan", "describe_run", "describe_runs", "execute"]
