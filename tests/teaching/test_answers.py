import shutil

import pytest
import torch

from pipeline import interruption
from pipeline.artifacts import commit as committing
from pipeline.artifacts.commit import COMMIT_POINTS
from pipeline.errors import ArtifactError
from pipeline.interruption import Interrupted
from pipeline.teaching import writing
from pipeline.teaching.answers import UNLIKELY, Answers
from pipeline.teaching.writing import BATCH_ROWS, answers_bytes, columns_of, write_answers

ROWS = [3, 64, 0, 41, 41]
CPU = torch.device("cpu")


def written(folder, teacher, dtype=torch.float32):
    columns = columns_of(teacher.split, teacher, dtype)
    write_answers(folder, teacher.split, teacher, columns)
    assert Answers.are_at(folder)
    return Answers(folder)


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_read_is_what_the_teacher_said_wherever_there_is_no_padding(made_up, tmp_path, dtype, is_text):
    teacher = made_up(is_text=is_text)
    answers = written(tmp_path / "answers", teacher, dtype)
    expected, mask = teacher(ROWS)
    taught = answers.read(ROWS, mask if is_text else None, CPU)
    assert torch.equal(taught.logits[0], expected.logits[0])
    assert (len(taught.hidden), len(taught.projections)) == (3, 2)
    layers = zip((*taught.hidden, *taught.projections), (*expected.hidden, *expected.projections), strict=True)
    for layer, wanted in layers:
        assert layer.dtype == dtype
        assert torch.equal(layer, (wanted * mask[..., None]).to(dtype))


def test_every_row_is_asked_for_once_in_batches_of_one_size(made_up, tmp_path):
    teacher = made_up()
    columns = columns_of(teacher.split, teacher, torch.float32)
    teacher.asked.clear()
    write_answers(tmp_path / "answers", teacher.split, teacher, columns)
    assert sorted(row for rows in teacher.asked for row in rows) == list(range(70))
    assert [len(rows) for rows in teacher.asked] == [BATCH_ROWS, BATCH_ROWS, 70 - 2 * BATCH_ROWS]


def test_several_logits_are_read_back_those_of_tokens_without_a_chance_for_padding(made_up, tmp_path):
    teacher = made_up(("spans", "classes", "tags"), has_hidden=False)
    answers = written(tmp_path / "answers", teacher)
    expected, mask = teacher(ROWS)
    spans, classes, tags = answers.read(ROWS, mask, CPU).logits
    assert torch.equal(spans, expected.logits[0].masked_fill(~mask, UNLIKELY))
    assert torch.equal(classes, expected.logits[1])
    assert torch.equal(tags, expected.logits[2] * mask[..., None])
    assert not spans.softmax(-1)[~mask].any()


@pytest.mark.parametrize(("is_text", "has_hidden"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_bytes_told_beforehand_are_those_written(made_up, tmp_path, is_text, has_hidden):
    teacher = made_up(is_text=is_text, has_hidden=has_hidden)
    answers = written(tmp_path / "answers", teacher, torch.bfloat16)
    told = answers_bytes(answers.columns, teacher.split, teacher)
    assert told == sum((tmp_path / "answers" / column.file).stat().st_size for column in answers.columns) > 0


def test_the_same_pass_made_again_writes_the_same_bytes(made_up, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        written(folder, made_up(), torch.bfloat16)
    one, two = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == two


def test_answers_that_are_not_whole_are_no_answers(made_up, tmp_path):
    folder = tmp_path / "answers"
    assert not Answers.are_at(folder)
    answers = written(folder, made_up())
    records = folder / answers.columns[0].file
    records.chmod(0o644)
    records.write_bytes(records.read_bytes()[:-1])
    assert not Answers.are_at(folder)


def test_answers_may_be_deleted_while_they_are_read(made_up, tmp_path):
    teacher = made_up()
    answers = written(tmp_path / "answers", teacher)
    _, mask = teacher(ROWS)
    before = answers.read(ROWS, mask, CPU)
    shutil.rmtree(tmp_path / "answers")
    after = answers.read(ROWS, mask, CPU)
    assert all(torch.equal(a, b) for a, b in zip(before.hidden, after.hidden, strict=True))


@pytest.mark.parametrize("point", COMMIT_POINTS[:4])
def test_answers_are_not_taken_for_whole_wherever_a_kill_cuts_their_writing_short(
    made_up, tmp_path, monkeypatch, point
):
    teacher, folder = made_up(), tmp_path / "answers"
    columns = columns_of(teacher.split, teacher, torch.float32)

    class KilledError(BaseException):
        pass

    def die(reached):
        if reached == point:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(committing, "reach", die)
        patch.setattr(writing, "discard_candidate", lambda folder: None)
        with pytest.raises(KilledError):
            write_answers(folder, teacher.split, teacher, columns)
    assert list(tmp_path.iterdir())
    assert not Answers.are_at(folder)
    written(folder, teacher)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_pass_cut_short_by_a_signal_or_an_error_leaves_nothing(made_up, tmp_path, monkeypatch):
    teacher = made_up()
    columns = columns_of(teacher.split, teacher, torch.float32)
    monkeypatch.setattr(interruption, "_requested", 15)
    with pytest.raises(Interrupted):
        write_answers(tmp_path / "answers", teacher.split, teacher, columns)
    monkeypatch.setattr(interruption, "_requested", None)

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_stored", full_disk)
    with pytest.raises(ArtifactError, match="answers: cannot be written"):
        write_answers(tmp_path / "answers", teacher.split, teacher, columns)
    assert not list(tmp_path.iterdir())
