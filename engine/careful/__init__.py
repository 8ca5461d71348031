"""Careful scoring: predictions made in a process that may die, and the galaxies found that make it."""
