import subprocess
import sys

import pytest

from pipeline.data.generated import grammar
from pipeline.data.tokenization import SPECIAL_TOKENS, train_wordpiece

TEXTS = ["Déjà vu: the film was moving", "the plot was clumsy", "never dull , never hollow", "the 映画 was warm"] * 3
TRAIN = """
from pipeline.data.generated import grammar
from pipeline.data.tokenization import train_wordpiece
print(train_wordpiece(grammar(rows=100)["train"]["text"][:], 150).to_str())
"""


def test_the_same_texts_give_the_same_tokenizer_in_another_process():
    ours = train_wordpiece(grammar(rows=100)["train"]["text"][:], 150).to_str()
    theirs = subprocess.run([sys.executable, "-c", TRAIN], check=True, capture_output=True, text=True).stdout
    assert theirs.strip() == ours


@pytest.mark.parametrize("vocab_size", [7, 12, 40, 60, 500])
def test_the_vocabulary_is_never_larger_than_asked_for(vocab_size):
    tokenizer = train_wordpiece(TEXTS, vocab_size)
    assert len(SPECIAL_TOKENS) < tokenizer.get_vocab_size() <= vocab_size
    assert sorted(tokenizer.get_vocab().values()) == list(range(tokenizer.get_vocab_size()))


def test_frequent_words_become_tokens_and_the_special_tokens_come_first():
    tokenizer = train_wordpiece(TEXTS, 200)
    assert [tokenizer.id_to_token(number) for number in range(5)] == list(SPECIAL_TOKENS)
    assert tokenizer.encode("The film").tokens == ["[CLS]", "the", "film", "[SEP]"]
    assert tokenizer.encode("déjà").tokens == tokenizer.encode("deja").tokens


def test_every_text_trained_on_is_encoded_without_an_unknown_token():
    tokenizer = train_wordpiece(TEXTS, 200)
    assert all("[UNK]" not in tokenizer.encode(text).tokens for text in TEXTS)
    assert "[UNK]" in tokenizer.encode("Ω").tokens


def test_a_pair_has_types_0_and_1_with_a_separator_after_each():
    encoded = train_wordpiece(TEXTS, 200).encode("the film", "the plot")
    assert encoded.tokens == ["[CLS]", "the", "film", "[SEP]", "the", "plot", "[SEP]"]
    assert encoded.type_ids == [0, 0, 0, 0, 1, 1, 1]
