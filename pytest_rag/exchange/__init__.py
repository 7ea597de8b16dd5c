"""Evalsets and runs in the layouts of others, and back."""
