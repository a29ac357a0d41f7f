"""Ships found by FCOS, from any initialization."""
