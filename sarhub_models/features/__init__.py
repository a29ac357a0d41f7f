"""Features of many images, probes on them, comparisons of several networks, figures, the demonstration."""
