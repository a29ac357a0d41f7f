"""Recognition of targets: fine-tuning, linear probe and nearest neighbours, from any starting weights."""
