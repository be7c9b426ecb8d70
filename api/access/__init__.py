"""Who may ask what of the service, and how much of it."""
