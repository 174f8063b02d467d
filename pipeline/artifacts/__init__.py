"""Run folders and the committed artifacts in them: what is written, how it is checked, and when it is stale."""

from pipeline.artifacts.manifest import Manifest
from pipeline.artifacts.run import Artifact, Run

__all__ = ["Artifact", "Manifest", "Run"]
