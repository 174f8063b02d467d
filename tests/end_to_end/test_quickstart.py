"""The quickstart as README shows it, with the accuracy it promises."""

from pathlib import Path

import pytest

from pipeline.api import plan, run


@pytest.mark.slow
def test_the_quickstart_keeps_its_accuracy_at_sixty_percent_sparsity(tmp_path: Path) -> None:
    finished = run("quickstart", runs_dir=tmp_path, overrides=["training.progress=false"])
    dense, final = finished["finetune"].metrics, finished["recover_ffn"].metrics
    assert dense["validation/accuracy"] >= 0.96
    assert final["validation/accuracy"] >= dense["validation/accuracy"] - 0.02
    assert final["encoder_sparsity"] >= 0.60
    assert {stage.state for stage in plan("quickstart", runs_dir=tmp_path).stages} == {"fresh"}
