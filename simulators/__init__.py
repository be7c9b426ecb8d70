"""Engines that execute a NIR graph under an execution contract, usable from a notebook."""
