"""What computes a trained member: torch in any precision, or a runtime for CPUs that keeps the numbers."""
