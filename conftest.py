"""For every run in this repository."""

pytest_plugins = ["pytester"]
