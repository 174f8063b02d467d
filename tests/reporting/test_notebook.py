import math
import subprocess
import sys

import pytest

from pipeline.errors import ArtifactError
from pipeline.surgery.keep_plan import KeepPlan, Kept


def test_a_run_is_compared_stage_by_stage(made_run):
    table = made_run.compare()
    assert table.index.tolist() == list(made_run.stages)
    assert table.loc["prune_ffn", "uses"] == "prune_ffn"
    assert table["validation/accuracy"].tolist() == [0.9, 0.8, 0.88, 0.86, 0.85]
    assert table["heads_kept"].tolist() == [12, 4, 4, 4, 3]
    assert table["channels_kept"].tolist() == [30, 30, 30, 9, 9]
    assert math.isnan(table.loc["finetune", "before_cut/validation/accuracy"])
    assert table["seconds"].tolist() == [25.0] * 5


def test_a_run_shows_its_table_and_an_artifact_its_numbers(made_run):
    shown = made_run._repr_html_()
    assert "<b>made</b>" in shown
    assert '<td style="text-align: right">88.00%</td>' in shown
    shown = made_run["recover"]._repr_html_()
    assert "<b>recover (distill)</b>" in shown
    assert ">20.0%</td>" in shown
    assert "Kept of" not in shown
    assert "Kept of what finetune left:" in made_run["prune_heads"]._repr_html_()


def test_a_plan_shows_a_square_for_each_unit_that_stays():
    plan = KeepPlan({"encoder.0.heads": Kept(4, (0, 3)), "<b>.0.channels": Kept(100, tuple(range(25)))})
    shown = plan._repr_html_()
    assert "2 of 4 heads and 25 of 100 channels kept" in shown
    assert ">■··■</td>" in shown
    assert ">25.0%</td>" in shown
    assert "&lt;b&gt;.0.channels" in shown


def test_figures_are_those_of_the_page(made_run):
    assert made_run.plot_heads("prune_heads").axes[0].get_xlabel() == "head"
    assert [line.get_gid() for line in made_run.plot_heads().axes[0].lines] == ["gone"]
    assert len(made_run.plot_widths().axes) == 2
    assert made_run.plot_scores("prune_heads").axes[0].get_ylabel() == "score of a unit"
    assert made_run.plot_scores("prune_ffn").axes[0].get_yscale() == "log"
    assert made_run.plot_scores("again").axes[0].get_ylabel() == "importance of a unit"


def test_figures_of_a_run_show_what_became_zero(sparse_run):
    for stage in ("thin", None):
        asked, shares, *edges = sparse_run.plot_sparsity(stage).axes[0].lines
        assert asked.get_xydata().tolist() == [[0, 0.0], [40, 0.5]]
        assert shares.get_xydata().tolist() == [[10, 0.125], [20, 0.25], [30, 0.375], [40, 0.5]]
        assert shares.get_label() == "weights zero"
        assert [edge.get_xdata()[0] for edge in edges] == [10, 30]
        assert sparse_run.plot_zeros(stage).axes[0].get_xlabel() == "layer"
        titles = [axes.get_title(loc="left") for axes in sparse_run.plot_weights(stage).axes[:3]]
        assert titles[-1] == "head: 0% zero"
    for plot in (sparse_run.plot_sparsity, sparse_run.plot_zeros, sparse_run.plot_weights):
        with pytest.raises(ArtifactError, match="finetune touched no single weights; those that did: thin"):
            plot("finetune")


def test_weights_that_the_files_have_under_other_names_are_not_shown(sparse_run):
    (sparse_run["thin"].model_dir / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="have none of the names of the weights that were touched"):
        sparse_run.plot_weights()


def test_what_cannot_be_drawn_is_said_with_what_can(made_run, tmp_path):
    with pytest.raises(ArtifactError, match=r"recover cut no heads; those that did: prune_heads, again$"):
        made_run.plot_heads("recover")
    with pytest.raises(ArtifactError, match=r"finetune keeps no scores; those that do: prune_heads, prune_ffn, again$"):
        made_run.plot_scores("finetune")


def test_opening_a_run_imports_neither_pandas_nor_matplotlib(made_run):
    code = (
        "import sys; from pipeline import Run; run = Run.open(sys.argv[1]); run.stages; run._repr_html_()\n"
        "assert not {'pandas', 'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(made_run.path)], check=True)
