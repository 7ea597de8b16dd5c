"""What the calls of models cost."""
