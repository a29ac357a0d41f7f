"""Data sets of images with boxes: a module of each, called as it."""
