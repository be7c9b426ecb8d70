"""What runs inside Lava's environment: it imports Lava and NumPy, and nothing of the service.

Lava's compiler executes every module in the folder of a process again, so nothing else lives here.
"""
