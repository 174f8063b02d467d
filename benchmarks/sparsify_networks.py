"""The small networks that the benchmark of sparsity trains."""

from __future__ import annotations

from torch import Tensor, nn


class DigitsNetwork(nn.Module):
    """Three convolutions and two linear layers over images ``(batch, 1, 8, 8)``, 41 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(batch, 10)``."""
        logits: Tensor = self.layers(images)
        return logits


class SentenceNetwork(nn.Module):
    """An embedding, an LSTM whose outputs are averaged over the words, and a linear layer."""

    def __init__(self, num_words: int, width: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits ``(batch, 2)`` for places of words ``(batch, words)``, 0 beyond a sentence's end."""
        is_word = ids != 0
        length = max(1, int(is_word.sum(1).max()))
        is_word = is_word[:, :length].unsqueeze(2)
        outputs, _ = self.lstm(self.dropout(self.embedding(ids[:, :length])))
        mean = (outputs * is_word).sum(1) / is_word.sum(1).clamp(min=1)
        logits: Tensor = self.classifier(self.dropout(mean))
        return logits
