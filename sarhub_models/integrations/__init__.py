"""Our networks in other libraries: timm, MMDetection and MMSegmentation."""
