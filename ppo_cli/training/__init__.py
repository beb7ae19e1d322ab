"""One run from configuration to result, and evaluations."""
