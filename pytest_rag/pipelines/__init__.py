"""The systems under test: adapters for the user's own, and the embedded local one."""
