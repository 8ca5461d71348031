"""Clusters: where the work runs, by the job file's ``[cluster]``; a small module a kind."""
