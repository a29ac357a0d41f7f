"""The engine of all experiments: trials, their runner, provenance and results."""
