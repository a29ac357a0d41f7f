"""Speed, as ratios to a named peer in the same run."""
