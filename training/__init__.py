"""Pre-training: recipes, the loop, evaluation, and the commands that make the bundled weights. Run from a clone."""
