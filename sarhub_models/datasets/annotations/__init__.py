"""Annotation files of boxes, COCO and VOC, and where they lie."""
