"""The ablation: which loss and which dynamic-range mapping pre-train best."""
