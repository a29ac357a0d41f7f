"""The list of weights: typed entries, the manifest that holds them, and their description in words. Pure Python."""
