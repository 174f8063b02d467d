"""Text classification and regression over one or two columns of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pipeline.errors import DataError
from pipeline.tasks.classification import Classification
from pipeline.tasks.encoded_text import EncodedText, Tokens, tokenize
from pipeline.tasks.labels import Labels, find_labels
from pipeline.tasks.rows import Rows, choose_rows
from pipeline.tasks.task import Split
from pipeline.tasks.teacher_tokens import check_same_tokens
from pipeline.tasks.tokenizers import LoadedTokenizer, find_tokenizer, load_tokenizer, longest_input

if TYPE_CHECKING:
    from pipeline.recipe.sources import ModelSource, TaskSource


NUM_SAMPLES = 64
"""So many texts of the training split tell whether a teacher reads the tokens that the model reads."""


class TextClassification(Classification):
    """One label per text, or per pair of texts."""

    auto_model = "AutoModelForSequenceClassification"

    def __init__(
        self,
        source: TaskSource,
        *,
        labels: Labels,
        train: Split,
        select: Split | None,
        validation: Mapping[str, Split],
        processor: LoadedTokenizer,
        samples: Sequence[Sequence[str]],
    ) -> None:
        super().__init__(
            source, labels=labels, train=train, select=select, validation=validation, processor_files=processor.files
        )
        self.max_length = source.max_length
        self.tokenizer = processor.tokenizer
        self._fields_of_tokenizer = processor.config_fields
        self._samples = samples

    def config_fields(self) -> dict[str, Any]:
        """Return the labels' fields and, for a model from a config, what its tokenizer decides."""
        return {**super().config_fields(), **self._fields_of_tokenizer}

    def check_config(self, config: Any) -> None:
        """Raise ``DataError`` for another number of classes, too few positions, or too small a vocabulary."""
        super().check_config(config)
        positions = longest_input(
            config.model_type, getattr(config, "max_position_embeddings", None), config.pad_token_id or 0
        )
        if positions is not None and self.max_length > positions:
            raise DataError(
                f"task.max_length: must be at most {positions}, the positions of the model, got {self.max_length}"
            )
        if len(self.tokenizer) > config.vocab_size:
            raise DataError(
                f"task: the tokenizer has {len(self.tokenizer)} tokens, but the model embeds {config.vocab_size}; "
                "use the tokenizer the model was trained with"
            )

    def check_teacher(self, model: Any, source: ModelSource) -> None:
        """Raise ``DataError`` when the teacher cannot take this data, or its tokenizer makes other tokens of it."""
        super().check_teacher(model, source)
        teacher = find_tokenizer(source)
        if teacher is not None:
            check_same_tokens(self.tokenizer, teacher, self._samples, self.max_length, whose=str(source.pretrained))

    def token_mask(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """Return which tokens are real, ``(rows, tokens)`` bool."""
        return batch["attention_mask"].bool()


def build(source: TaskSource, *, model: ModelSource, processor_dir: Path | None, seed: int) -> TextClassification:
    """Return the task of ``build_task`` for text."""
    chosen = choose_rows(source, {"text": source.text, "label": (source.label,)}, seed)
    labels = find_labels(source, chosen.whole_train)
    columns = [_read_texts(chosen.train, name) for name in source.text]
    loaded = load_tokenizer(model, processor_dir, lambda: [text for column in columns for text in column.to_pylist()])
    _check_max_length(source, loaded.tokenizer)

    def split(rows: Rows) -> EncodedText:
        texts = [_read_texts(rows, name) for name in source.text]

        def encode() -> Tokens:
            return tokenize(loaded.tokenizer, [column.to_pylist() for column in texts], source.max_length)

        return EncodedText(rows.split, encode, rows.take(labels.encode(rows)), loaded.tokenizer.pad_token_id)

    return TextClassification(
        source,
        labels=labels,
        train=split(chosen.train),
        select=None if chosen.select is None else split(chosen.select),
        validation={name: split(rows) for name, rows in chosen.validation.items()},
        processor=loaded,
        samples=[column.slice(0, NUM_SAMPLES).to_pylist() for column in columns],
    )


def _read_texts(rows: Rows, name: str) -> Any:
    """Return a column of text as an Arrow array of the rows kept; raises ``DataError`` for nulls and other types."""
    import pyarrow as pa

    column = rows.column(name)
    if column.null_count:
        row = column.is_null().index(pa.scalar(True)).as_py()
        place = f"split {rows.split!r}, row {row + 1}, column {name!r}"
        raise DataError(f"task.text: {place}: the text is null; drop the row or fill it")
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"task.text: column {name!r} of split {rows.split!r} holds {column.type}, not text")
    return column if rows.kept is None else column.take(pa.array(rows.kept))


def _check_max_length(source: TaskSource, tokenizer: Any) -> None:
    least = tokenizer.num_special_tokens_to_add(pair=len(source.text) == 2) + len(source.text)
    if source.max_length < least:
        raise DataError(
            f"task.max_length: must be at least {least}, the special tokens and a token of each text, "
            f"got {source.max_length}"
        )
