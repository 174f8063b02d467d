import pytest

from pipeline.errors import DataError
from pipeline.recipe.sources import ModelSource

PAIR = {"text": ["text", "other"]}
OTHER_WORDS = [{"text": "zebra yacht", "other": "quilt", "label": label} for label in (0, 1)]


@pytest.fixture
def teacher(tmp_path, tiny_model):
    """A function from a task to a folder with a teacher for it, its tokenizer beside it, and that teacher."""

    def save(task, *, has_tokenizer=True):
        model, folder = tiny_model("bert", num_labels=2, vocab_size=200), tmp_path / "teacher"
        model.save_pretrained(folder)
        if has_tokenizer:
            task.save_processor(folder)
        return model, ModelSource(pretrained=str(folder))

    return save


@pytest.mark.parametrize("fields", [{}, PAIR])
def test_a_teacher_with_the_models_tokenizer_is_taken(make, teacher, caplog, fields):
    task = make(**fields)
    task.check_teacher(*teacher(task))
    assert caplog.text == ""


def test_a_teacher_that_reads_other_tokens_is_refused_with_those_of_the_first_row_that_differs(make, teacher):
    model, source = teacher(make(OTHER_WORDS, OTHER_WORDS))
    with pytest.raises(DataError) as caught:
        make().check_teacher(model, source)
    assert f"teacher: {source.pretrained} must have the model's tokenizer, but reads row 1" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_teacher_without_a_tokenizer_is_taken_at_its_word(make, teacher):
    task = make()
    task.check_teacher(*teacher(task, has_tokenizer=False))


def test_a_teacher_that_would_have_to_do_without_token_types_is_named(make, teacher, caplog):
    of_bert = make(**PAIR)
    of_roberta = make(**PAIR, model=ModelSource(config={"model_type": "distilbert", "vocab_size": 120}))
    of_roberta.check_teacher(*teacher(of_bert))
    assert "tells two texts apart by token types, which the model's tokenizer does not make" in caplog.text
