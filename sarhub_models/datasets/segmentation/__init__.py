"""Readers of images with masks, one file a data set."""
