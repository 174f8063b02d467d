"""A WordPiece tokenizer trained on a data set, for a text model that starts from a configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, FIRST, SEPARATOR, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
DEFAULT_VOCAB_SIZE = 8192
MOST_CHARACTERS = 1000


def train_wordpiece(texts: Iterable[str], vocab_size: int = DEFAULT_VOCAB_SIZE) -> Tokenizer:
    """Return a lower-casing WordPiece tokenizer of at most ``vocab_size`` tokens, laid out as BERT's.

    The same texts in the same order give the same tokenizer in every process.
    """
    from tokenizers import Tokenizer, models, trainers

    texts = list(texts)
    blank = _bert_parts(Tokenizer(models.WordPiece(unk_token=UNKNOWN)))
    # The trainer numbers continuation characters in the order of a hash table, which differs between processes and
    # decides ties between merges. Named up front as special tokens, they have fixed numbers.
    characters = _characters(blank, texts, limit=max(0, (vocab_size - len(SPECIAL_TOKENS)) // 2))
    fixed = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=fixed,
        limit_alphabet=len(characters),
        initial_alphabet=characters,
        show_progress=False,
    )
    blank.train_from_iterator(texts, trainer)
    vocab = blank.get_vocab(with_added_tokens=True)
    return _bert_tokenizer(vocab)


def tokenizer_files(tokenizer: Tokenizer, *, model_max_length: int | None, token_types: bool) -> dict[str, bytes]:
    """Return the two files that ``AutoTokenizer`` reads the trained tokenizer back from, by name.

    ``token_types`` says whether the model takes them, ``model_max_length`` its longest input in tokens.
    """
    inputs = ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"]
    config: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "cls_token": FIRST,
        "sep_token": SEPARATOR,
        "mask_token": MASK,
        "model_input_names": inputs,
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": (json.dumps(config, indent=2) + "\n").encode(),
    }


def _characters(tokenizer: Tokenizer, texts: list[str], limit: int) -> list[str]:
    """Return the characters of the normalised texts, sorted; the most frequent ones where there are too many."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    ranked = sorted((character for character in counts if not character.isspace()), key=lambda c: (-counts[c], c))
    return sorted(ranked[: min(limit, MOST_CHARACTERS)])


def _bert_parts(tokenizer: Tokenizer) -> Tokenizer:
    from tokenizers import decoders, normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _bert_tokenizer(vocab: dict[str, int]) -> Tokenizer:
    from tokenizers import Tokenizer, models, processors

    tokenizer = _bert_parts(Tokenizer(models.WordPiece(vocab, unk_token=UNKNOWN)))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {SEPARATOR}",
        pair=f"{FIRST} $A {SEPARATOR} $B:1 {SEPARATOR}:1",
        special_tokens=[(FIRST, vocab[FIRST]), (SEPARATOR, vocab[SEPARATOR])],
    )
    return tokenizer
