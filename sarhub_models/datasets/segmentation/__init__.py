"""Data sets of images with masks: a module of each, called as it."""
