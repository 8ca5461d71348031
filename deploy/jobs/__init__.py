"""Detached jobs: the run directory is the job, whoever sees its files can watch or stop it."""
