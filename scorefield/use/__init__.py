"""Floor 6: what is done with a run."""
