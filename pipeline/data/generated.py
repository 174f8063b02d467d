"""Data sets that need no network: scikit-learn's images of digits, and sentences from a small grammar."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

NOUNS = ("film", "plot", "cast", "script", "music", "ending", "story", "pacing", "camera", "dialogue", "humour", "lead")
PRAISE = ("warm", "clever", "moving", "funny", "bright", "graceful", "honest", "gripping")
BLAME = ("dull", "clumsy", "hollow", "tedious", "noisy", "stale", "shallow", "lifeless")
DEGREES = {"": 1.0, "slightly": 0.5, "very": 1.5, "truly": 1.5}
NEGATIONS = ("not", "never", "hardly")
MOST_ROWS = 100_000


def digits() -> Mapping[str, Dataset]:
    """Return 1,797 real grey images of 8×8 pixels in 10 classes: ``train`` (1,347) and ``validation`` (450).

    Every fourth image in the order of the classes is for validation, so both splits hold each class in proportion.
    """
    import numpy as np
    from datasets import ClassLabel, Dataset, Features, Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = np.argsort(labels, kind="stable")
    is_validation = np.zeros(len(labels), dtype=bool)
    is_validation[order[::4]] = True
    features = Features({"image": Image(), "label": ClassLabel(names=[str(digit) for digit in range(10)])})

    def split(rows: np.ndarray) -> Dataset:
        return Dataset.from_dict({"image": list(pixels[rows]), "label": labels[rows].tolist()}, features=features)

    return {"train": split(~is_validation), "validation": split(is_validation)}


def grammar(rows: int = 2000, seed: int = 0) -> Mapping[str, Dataset]:
    """Return ``rows`` sentences for ``train`` and a quarter as many for ``validation``, none of them in both.

    Columns: ``text``; ``label`` (negative, positive), its sentiment; ``score`` in [-1.5, 1.5], the same graded;
    ``other``, a second sentence, and ``better`` (first, second), which of the two scores higher.
    Negation and contrast ("although the plot was dull, the cast was not clumsy") keep a bag of words from solving it.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    if not 4 <= rows <= MOST_ROWS:
        raise DataError(f"task.dataset.rows: must be from 4 to {MOST_ROWS}, got {rows}")
    features = Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=["negative", "positive"]),
            "score": Value("float32"),
            "other": Value("string"),
            "better": ClassLabel(names=["first", "second"]),
        }
    )
    drawn = random.Random(seed)
    # A dictionary keeps the order of drawing, and one entry per first sentence.
    sentences: dict[str, tuple[float, str, float]] = {}
    while len(sentences) < rows + rows // 4:
        text, score = _sentence(drawn)
        other, other_score = _sentence(drawn)
        if other_score != score:
            sentences.setdefault(text, (score, other, other_score))
    table = [
        {
            "text": text,
            "label": int(score > 0),
            "score": score,
            "other": other,
            "better": int(other_score > score),
        }
        for text, (score, other, other_score) in sentences.items()
    ]
    return {
        "train": Dataset.from_list(table[:rows], features=features),
        "validation": Dataset.from_list(table[rows:], features=features),
    }


def _sentence(drawn: random.Random) -> tuple[str, float]:
    """Return a sentence and its score: that of its main clause, where it has two."""
    clause, score = _clause(drawn)
    kind = drawn.randrange(5)
    if kind < 2:
        return clause, score
    other, other_score = _clause(drawn)
    if kind == 2:
        return f"although {clause} , {other}", other_score
    if kind == 3:
        return f"{clause} , but {other}", other_score
    return f"{clause} , even if {other}", score


def _clause(drawn: random.Random) -> tuple[str, float]:
    is_praise = drawn.random() < 0.5
    adjective = drawn.choice(PRAISE if is_praise else BLAME)
    degree = drawn.choice(tuple(DEGREES))
    negation = drawn.choice(NEGATIONS) if drawn.random() < 0.25 else ""
    score = DEGREES[degree] * (1.0 if is_praise else -1.0) * (-1.0 if negation else 1.0)
    words = ("the", drawn.choice(NOUNS), "was", negation, degree, adjective)
    return " ".join(word for word in words if word), score
