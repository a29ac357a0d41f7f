"""Recognition of targets: fine-tuning, linear probe and nearest neighbors, from any starting weights."""
