"""What is done with many images: features, probes on them, comparisons of several networks, figures, the demonstration."""
