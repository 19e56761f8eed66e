"""Who chooses, chunk by chunk, how much of it runs and how fast: fixed, learned, or by a rule."""
