"""Recognition of targets and scenes with the features of a network."""
