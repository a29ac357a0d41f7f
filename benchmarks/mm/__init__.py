"""What detection and segmentation share: MMEngine runs, trials, commands, and how the MM packages are installed."""
