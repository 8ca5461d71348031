"""Command line, job files and clusters."""
