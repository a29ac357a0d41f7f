"""One's own images with masks or boxes, read in windows of one size."""
