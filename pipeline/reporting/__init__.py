"""What a run came to: measured models, a table per stage, and the card of each model."""
