"""What the networks are good for, and how fast they are. Run from a clone."""
