"""What all experiments share: initializations, provenance, the runner, results."""
