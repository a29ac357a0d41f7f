"""Files that outputs go to, written group by group: Cloud-Optimized GeoTIFF and GeoParquet."""
