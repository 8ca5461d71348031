"""Detached jobs: the run directory is the job, its files say how it goes, and whoever sees them can watch or stop it."""
