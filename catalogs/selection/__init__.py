"""Survey tables in, target list out."""
