import pytest
import torch

from pipeline.teaching import rehearsal
from pipeline.teaching.answers import Answers
from pipeline.teaching.rehearsal import TIMED_BATCHES, pass_seconds, rehearse
from pipeline.teaching.writing import columns_of, write_answers

CPU = torch.device("cpu")


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize(("heads", "has_hidden"), [(("classes",), True), (("spans", "classes", "tags"), False)])
def test_what_is_rehearsed_has_the_shapes_and_types_of_what_will_be_read(made_up, tmp_path, heads, has_hidden, is_text):
    teacher = made_up(heads, is_text=is_text, has_hidden=has_hidden)
    columns = columns_of(teacher.split, teacher, torch.bfloat16)
    write_answers(tmp_path / "answers", teacher.split, teacher, columns)
    rows = [3, 64, 0, *range(40)]
    mask = teacher(rows)[1] if is_text else None
    real = Answers(tmp_path / "answers").read(rows, mask, CPU)
    teacher.asked.clear()
    rehearsed = rehearse(teacher, columns, 70, teacher.split.lengths)
    told = [rehearsed.read(rows, mask, CPU) for _ in range(3)][-1]
    assert len(teacher.asked) == 1
    for mine, theirs in zip(*((*t.logits, *t.hidden, *t.projections) for t in (told, real)), strict=True):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)


def test_the_seconds_of_a_pass_are_told_from_a_few_batches_by_their_tokens(made_up, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: now[0])
    teacher = made_up(num_rows=3200)

    def ask(rows):
        now[0] += 0.01 * float(teacher.split.lengths[rows].sum())
        return teacher(rows)

    assert pass_seconds(ask, 3200, teacher.split.lengths) == pytest.approx(0.01 * teacher.split.lengths.sum())
    assert len(teacher.asked) == TIMED_BATCHES + 1
