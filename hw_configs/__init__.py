"""One YAML file a target: the single source of truth about it."""
