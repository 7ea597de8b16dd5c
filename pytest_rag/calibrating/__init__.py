"""Answers that people judged, and metrics → how far each metric may be trusted."""
