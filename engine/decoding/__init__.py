"""Decoding of FITS images from strangers, in a process of its own: ``client`` here, everything else there."""
