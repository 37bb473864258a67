"""Floor 5: a run: its settings, how it is trained, opened and described."""
