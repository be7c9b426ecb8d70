"""What SNN Fusion takes on this machine; never part of the tests."""
