"""Readers of images with boxes, one file a data set."""
