"""MSTAR: military vehicles, read from Phoenix files, unpacked or in their archives."""
