"""Spoken digits seen by an event camera: data, noise, training and scoring of the model here."""
