"""What computes a trained member: torch, or a faster runtime for CPUs that keeps the numbers."""
