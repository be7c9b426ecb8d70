"""Comparisons of targets: prepared, run here, and put together from several deployments."""
