"""From recordings and samples to events."""
