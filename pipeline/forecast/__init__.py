"""What a recipe will cost before anything is trained: parameters, multiply-accumulates, steps, tokens and time."""
