import pytest
from support.redis_server import redis_server


@pytest.fixture
def server():
    with redis_server() as server:
        yield server
