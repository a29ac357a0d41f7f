"""Fine-tuning on one's own images: labels, masks or boxes in, a weights file that describes itself and a report out."""
