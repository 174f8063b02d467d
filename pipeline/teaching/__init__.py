"""A teacher's answers to the training split, computed once and read from memory-mapped files ever after."""
