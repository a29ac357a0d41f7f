"""Data sets of scenes and targets with one or several labels each: a module or package of each, called as it."""
