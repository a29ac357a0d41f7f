"""The ground floor: files, images, tables and progress bars; it knows nothing of the rest of the package."""
