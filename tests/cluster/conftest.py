"""Tests on a live cluster: opt-in, by `make cluster-test`."""

import os
from pathlib import Path

import pytest
from support.cluster import Cluster


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if os.environ.get("SNN_FUSION_CLUSTER") != "1":
                item.add_marker(pytest.mark.skip("needs a live cluster: make cluster-test"))


@pytest.fixture(scope="session")
def cluster():
    """Install the chart, once for all tests, and remove it at the end."""
    found = Cluster()
    found.deploy()
    yield found
    found.remove()
