"""Models: those that ship, those that were uploaded, and what of them is in memory."""
