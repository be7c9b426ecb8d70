"""The hardware abstraction: targets, their capabilities, and programs that run on them."""
