import math
from dataclasses import replace

import pytest

from pipeline.artifacts.manifest import Manifest, environment, file_digests
from pipeline.artifacts.sealed import seal, unseal

MANIFEST = Manifest(
    stage="cut",
    uses="prune_heads",
    version=1,
    fingerprint="f" * 64,
    document={"seed": 1},
    inputs={"parent": {"stage": "finetune", "content": "0" * 64}},
    files={"model/config.json": "a" * 64},
    metrics={"validation/accuracy": 0.1 + 0.2},
    details={"auto_model": "AutoModel"},
    environment={"python": "3.11"},
    seconds=1.5,
    created="2024-01-01T00:00:00+00:00",
)


def test_manifest_reads_back_equal():
    assert Manifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


def test_undefined_metric_is_null_on_the_disk_and_nan_again_when_read():
    data = replace(MANIFEST, metrics={"validation/pearson": math.nan}).to_bytes()

    assert unseal(data)["metrics"] == {"validation/pearson": None}
    assert math.isnan(Manifest.from_bytes(data).metrics["validation/pearson"])


def test_a_number_in_details_that_is_not_finite_is_null():
    details = {"best_value": math.nan, "layers": [{"share": math.inf}, {"share": 0.5}], "steps": (-math.inf, 3)}

    found = Manifest.from_bytes(replace(MANIFEST, details=details).to_bytes()).details
    assert found == {"best_value": None, "layers": [{"share": None}, {"share": 0.5}], "steps": [None, 3]}


@pytest.mark.parametrize(
    ("change", "problem"), [({"format": 2}, "another version of pruneline"), ({"extra": 1}, "other fields")]
)
def test_manifest_of_another_version_is_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        Manifest.from_bytes(seal({**unseal(MANIFEST.to_bytes()), **change}))


def test_file_digests_name_every_file_but_the_manifest(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_bytes(b"")
    (tmp_path / "manifest.json").write_bytes(b"")
    (tmp_path / "model" / "manifest.json").write_bytes(b"abc")

    assert file_digests(tmp_path) == {
        "model/a": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "model/manifest.json": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_environment_names_versions_and_machine_and_the_device_it_is_told():
    found = environment("a GPU")
    assert {"python", "torch", "transformers", "threads", "machine", "cpus"} <= set(found)
    assert found["device"] == "a GPU"
