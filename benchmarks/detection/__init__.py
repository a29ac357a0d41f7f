"""Ships found by FCOS, from any initialisation."""
