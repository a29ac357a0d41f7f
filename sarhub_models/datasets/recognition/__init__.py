"""Readers of scenes and targets with one or several labels each, one file or folder a data set."""
