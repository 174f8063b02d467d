import os

import pytest

from pipeline import Run
from pipeline.artifacts.commit import commit, new_candidate
from pipeline.artifacts.lock import RunLock
from pipeline.artifacts.manifest import Manifest, file_digests
from pipeline.errors import ArtifactError


def put(run_dir, folder, stage, *, weights="1", inputs=None):
    run_dir.mkdir(exist_ok=True)
    candidate = new_candidate(run_dir / folder)
    (candidate / "model").mkdir()
    for name in ("model.safetensors", "config.json", "README.md", "modeling_condensed_bert.py"):
        (candidate / "model" / name).write_text(weights)
    (candidate / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    (candidate / "total_keep_plan.json").write_text('{"encoder.0.heads": {"of": 4, "units": [1]}}')
    manifest = Manifest(
        stage, "finetune", 1, "f", {}, inputs or {}, file_digests(candidate), {"a": 1.0}, {}, {}, 1.0, "now"
    )
    commit(candidate, run_dir / folder, manifest.to_bytes())


def test_artifact_tells_what_it_holds(tmp_path):
    put(tmp_path / "run", "01-first", "first")
    artifact = Run.open(tmp_path / "run")["first"]

    artifact.verify()
    assert artifact.metrics == {"a": 1.0}
    assert artifact.keep_plan is None
    assert artifact.total_keep_plan["encoder.0.heads"].units == (1,)
    assert artifact.history() == [{"step": 1}, {"step": 2}]
    assert artifact.tensors() == {}


def test_content_is_what_a_later_stage_reads(tmp_path):
    put(tmp_path / "run", "01-first", "first")

    content = Run.open(tmp_path / "run")["first"].content()

    assert set(content) == {"model/model.safetensors", "model/config.json", "total_keep_plan.json"}


def test_only_a_folder_named_by_its_manifests_stage_is_that_stage(tmp_path):
    for folder in ("09-first", "09-first-backup", "10-other", "first"):
        put(tmp_path / "run", folder, "first")

    (artifact,) = Run.open(tmp_path / "run").artifacts().values()

    assert (artifact.name, artifact.path.name) == ("first", "09-first")


def test_two_folders_of_one_stage_are_refused_by_both_names(tmp_path):
    for folder in ("01-first", "02-first"):
        put(tmp_path / "run", folder, "first")

    with pytest.raises(ArtifactError, match=r"run: 01-first and 02-first are both of the stage first; move the one"):
        Run.open(tmp_path / "run").artifacts()


def test_unreadable_manifest_leaves_the_stage_its_folder_s_name(tmp_path):
    put(tmp_path / "run", "01-first", "first")
    os.truncate(tmp_path / "run" / "01-first" / "manifest.json", 5)
    run = Run.open(tmp_path / "run")

    assert run.stages == ("first",)
    with pytest.raises(ArtifactError, match=r"01-first/manifest\.json cannot be trusted: .* --from first"):
        _ = run["first"].manifest


def test_stages_follow_the_recipe_and_leave_out_what_it_no_longer_has(tmp_path):
    for folder, stage in (("01-a", "a"), ("02-b", "b"), ("03-c", "c")):
        put(tmp_path / "run", folder, stage)
    (tmp_path / "run" / "recipe.yaml").write_text("stages:\n- {uses: c}\n- {uses: x, name: a}\n- {uses: d}\n")

    run = Run.open(tmp_path / "run")

    assert run.stages == ("c", "a")
    assert "b" in run


def test_unknown_stage_is_told_those_there_are(tmp_path):
    put(tmp_path / "run", "01-first", "first")
    with pytest.raises(ArtifactError, match="no stage 'second' is committed; there are: first"):
        Run.open(tmp_path / "run")["second"]


def test_missing_run_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="no such run folder"):
        Run.open(tmp_path / "nothing")


def test_outdated_stages_are_those_whose_parent_has_other_content_now(tmp_path):
    run_dir = tmp_path / "run"
    put(run_dir, "01-a", "a", inputs={"parent": {"stage": None, "content": "x"}})
    made_from = {"parent": {"stage": "a", "content": Run(run_dir)["a"].content_digest()}}
    put(run_dir, "02-b", "b", inputs=made_from)
    put(run_dir, "03-c", "c", inputs={"parent": {"stage": "a", "content": "other"}})

    assert Run(run_dir).outdated() == ("c",)


def test_opening_recovers_only_where_nobody_writes(tmp_path):
    put(tmp_path / "run", "01-first", "first")
    (tmp_path / "run" / ".new.02-second").mkdir()

    with RunLock(tmp_path / "run"):
        Run.open(tmp_path / "run")
        assert (tmp_path / "run" / ".new.02-second").exists()
    Run.open(tmp_path / "run")
    assert not (tmp_path / "run" / ".new.02-second").exists()


def test_redo_command_names_the_recipe_and_where_the_runs_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "run", "01-first", "first")
    assert (
        Run(tmp_path / "run")["first"]
        .how_to_redo()
        .endswith(f"pruneline run RECIPE --from first --runs-dir {tmp_path}")
    )
