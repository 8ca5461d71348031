"""The report of a run: one HTML page with everything in it, to be looked at anywhere."""
