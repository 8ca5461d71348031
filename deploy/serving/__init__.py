"""A page over a published catalogue, on this machine and for its user alone: search, look, take away."""
