import inspect
import subprocess
import sys

import pytest

from pipeline.artifacts.digests import DigestCache
from pipeline.artifacts.hub import HubCommits
from pipeline.artifacts.identity import BUILTINS, Identities
from pipeline.errors import DataError, RecipeError
from pipeline.recipe import DatasetSource, ModelSource

COMMIT = "0123456789" * 4


@pytest.fixture
def identities(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    return Identities(DigestCache(tmp_path / "run"), HubCommits(tmp_path / "run"))


def test_local_files_are_known_by_content_and_suffix_and_not_by_name(identities, tmp_path):
    for name, text in (("a.jsonl", "1"), ("b.jsonl", "1"), ("c.jsonl", "2"), ("d.json", "1")):
        (tmp_path / name).write_text(text)

    def identity(file):
        return identities.dataset(DatasetSource(path="json", data_files={"train": file}))

    assert identity("a.jsonl") == identity("b.jsonl") == identity(["a.jsonl"])
    assert identity("a.jsonl") != identity("c.jsonl")
    assert identity("a.jsonl") != identity("d.json")
    assert identity(["a.jsonl", "c.jsonl"]) != identity(["c.jsonl", "a.jsonl"])


def test_missing_data_file_is_named(identities):
    with pytest.raises(DataError, match=r"task\.dataset\.data_files\.train: no such file: a\.jsonl"):
        identities.dataset(DatasetSource(path="json", data_files={"train": "a.jsonl"}))


def test_saved_folder_is_known_by_all_of_its_files(identities, tmp_path):
    folder = tmp_path / "saved"
    (folder / "train").mkdir(parents=True)
    (folder / "dataset_dict.json").write_text("{}")
    (folder / "train" / "data.arrow").write_text("1")
    source = DatasetSource(path=str(folder))
    before = identities.dataset(source)

    (folder / "train" / "cache-123.arrow").write_text("a library's cache")
    assert identities.dataset(source) == before
    (folder / "train" / "data.arrow").write_text("2")
    assert identities.dataset(source) != before


def test_builtin_is_known_by_name_options_and_version(identities):
    grammar = identities.dataset(DatasetSource(builtin="grammar"))

    assert grammar == {"builtin": "grammar", "version": 1, "rows": 2000, "seed": 0}
    assert identities.dataset(DatasetSource(builtin="grammar", rows=2000)) == grammar
    assert identities.dataset(DatasetSource(builtin="grammar", rows=100)) != grammar


def test_builtin_options_default_to_what_the_generator_takes():
    from pipeline.data.generated import grammar

    defaults = {name: option.default for name, option in inspect.signature(grammar).parameters.items()}
    assert {name: BUILTINS["grammar"][name] for name in defaults} == defaults


def test_model_folder_is_known_by_what_is_read_of_it(identities, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "README.md", "modeling.py"):
        (folder / name).write_text(name)
    source = ModelSource(pretrained=str(folder))

    assert set(identities.model(source)["folder"]) == {"config.json", "model.safetensors"}
    trusted = ModelSource(pretrained=str(folder), trust_remote_code=True)
    assert set(identities.model(trusted)["folder"]) == {"config.json", "model.safetensors", "modeling.py"}
    assert identities.pin_model(source) == source


def test_model_from_a_configuration_is_known_by_it(identities):
    config = {"model_type": "bert", "hidden_size": 16}
    assert identities.model(ModelSource(config=config)) == {"config": config}


@pytest.mark.parametrize("name", ["./nothing", "/no/thing", "a/b/c"])
def test_missing_model_folder_is_not_asked_of_the_hub(identities, name):
    with pytest.raises(RecipeError, match=r"model\.pretrained: no such folder"):
        identities.model(ModelSource(pretrained=name))


@pytest.fixture
def hub(monkeypatch):
    """A hub that knows one commit; ``hub.asked`` counts, ``hub.error`` is raised if set."""
    import huggingface_hub

    class Hub:
        asked = 0
        error = None

        def repo_info(self, repository, *, revision, repo_type, timeout):
            Hub.asked += 1
            if Hub.error is not None:
                raise Hub.error
            return type("Info", (), {"sha": COMMIT})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


def test_hub_commit_is_resolved_once_and_kept_in_the_run_folder(identities, hub, tmp_path):
    source = DatasetSource(path="nyu-mll/glue", name="mnli")
    assert identities.dataset(source) == {"hub": "nyu-mll/glue", "commit": COMMIT, "name": "mnli"}
    assert identities.pin_dataset(source).revision == COMMIT
    identities.save()

    again = Identities(DigestCache(tmp_path / "run"), HubCommits(tmp_path / "run"))
    again.dataset(source)

    assert hub.asked == 1


def test_full_commit_is_not_asked_of_the_hub(identities, hub):
    source = ModelSource(pretrained="google-bert/bert-base-uncased", revision=COMMIT)
    assert identities.model(source)["commit"] == COMMIT
    assert hub.asked == 0


def test_without_a_network_the_local_hub_cache_tells_the_commit(identities, hub, tmp_path, monkeypatch):
    hub.error = ConnectionError("no network")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    source = ModelSource(pretrained="google-bert/bert-base-uncased")
    with pytest.raises(RecipeError, match=r"the hub cannot be asked for its commit \(ConnectionError\); give a folder"):
        identities.model(source)

    reference = tmp_path / "hub" / "models--google-bert--bert-base-uncased" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text(COMMIT)
    assert identities.model(source)["commit"] == COMMIT


@pytest.mark.parametrize(
    ("kind", "text"), [("csv", "image,label\na.png,0\n"), ("json", '{"image": "a.png", "label": 0}\n')]
)
def test_images_named_by_local_rows_are_known_by_content_in_a_task_over_images(identities, tmp_path, kind, text):
    (tmp_path / "rows").write_text(text)
    (tmp_path / "a.png").write_bytes(b"one")
    source = DatasetSource(path=kind, data_files={"train": "rows"})

    def identity():
        return identities.dataset(source, images="image"), identities.dataset(source)

    (over_images, over_text) = identity()
    assert over_text == {name: value for name, value in over_images.items() if name != "images"}
    (tmp_path / "a.png").write_bytes(b"two")
    changed, unchanged = identity()
    assert changed["images"] != over_images["images"]
    assert unchanged == over_text
    (tmp_path / "a.png").unlink()
    assert identity()[0]["images"] not in (changed["images"], over_images["images"])


def test_rows_that_name_no_image_have_no_images_in_their_identity(identities, tmp_path):
    (tmp_path / "rows").write_text('{"image": [[0, 1]], "label": 0}\n')
    source = DatasetSource(path="json", data_files={"train": "rows"})
    assert identities.dataset(source, images="image") == identities.dataset(source)
    assert "images" not in identities.dataset(DatasetSource(builtin="digits"), images="image")


def test_finding_the_images_of_a_csv_or_of_json_imports_nothing_heavy(tmp_path):
    (tmp_path / "rows.csv").write_text("image,label\na.png,0\n")
    (tmp_path / "rows.jsonl").write_text('{"image": "a.png"}\n')
    script = (
        "import sys; from pipeline.data.image_files import named_images as n; from pipeline.recipe import DatasetSource"
        "; [n(DatasetSource(path=k, data_files={'train': f}), 'image') for k, f in zip(['csv', 'json'], sys.argv[1:])]"
        "; print([m for m in ('torch', 'datasets', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    files = [str(tmp_path / "rows.csv"), str(tmp_path / "rows.jsonl")]
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
