"""The study of what pre-training changes in the explanations of a network."""
