"""FITS files as they lie on disk: looked over by ourselves before any library may open them."""
