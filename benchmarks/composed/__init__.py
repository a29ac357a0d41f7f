"""Scenes and mosaics composed of real patches, and the studies on them."""
