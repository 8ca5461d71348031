"""Cutouts in Zarr, and the distributed pass over them."""
