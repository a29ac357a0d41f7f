"""The common part of detection and segmentation: MMEngine runs, trials, commands, installing the MM packages."""
