"""Large rasters: products as they are delivered become features and maps, window by window."""
