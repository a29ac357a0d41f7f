"""Training of any network: recipes, splits, batches, the loop with exact resume, metrics and reports."""
