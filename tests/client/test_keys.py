"""The clients' keys, against a service that asks for them."""

import asyncio
from contextlib import suppress

import pytest
from support.access import KeysFile
from support.api_models import write_shelf
from support.api_server import running

from api.settings import load_settings
from snn_fusion.client import AsyncClient, Client, NotAllowed, Overloaded, Retry


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of a service, a key for reading models, and one with a limit."""
    folder = tmp_path_factory.mktemp("keys")
    keys = KeysFile(folder / "keys.yaml")
    key = keys.add("models:read")
    slow = keys.add("models:read", limits={"requests_per_s": 0.01, "burst": 1})
    shelf = write_shelf(folder / "shelf")
    with running(load_settings(models_dir=shelf, keys_file=keys.path, targets="numpy")) as server:
        server.wait_until_ready()
        yield str(server.client.base_url), key, slow


def ask(kind, address, call="models", **options):
    """Return what one call of a new client gives."""
    if kind is Client:
        with Client(address, **options) as client:
            return getattr(client, call)()

    async def asked():
        async with AsyncClient(address, **options) as client:
            return await getattr(client, call)()

    return asyncio.run(asked())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_key_is_given_or_found_in_the_environment(kind, site, monkeypatch):
    address, key, _ = site
    monkeypatch.delenv("SNN_FUSION_API_KEY", raising=False)
    assert ask(kind, address, api_key=key)[0].name == "listening"
    with pytest.raises(NotAllowed, match="a key is needed") as caught:
        ask(kind, address)
    assert caught.value.status == 401
    monkeypatch.setenv("SNN_FUSION_API_KEY", f"{key}\n")
    assert ask(kind, address)[0].name == "listening"
    with pytest.raises(NotAllowed):
        ask(kind, address, api_key="another")
    with pytest.raises(NotAllowed):
        ask(kind, address, headers={"authorization": "Bearer another"})
    with pytest.raises(NotAllowed, match="lacks the scope targets:read") as caught:
        ask(kind, address, "targets")
    assert caught.value.status == 403
    assert "models:read" in caught.value.nearest


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_limit_is_told_with_when_to_come_back(kind, site):
    address, _, slow = site
    once = Retry(tries=1)
    with suppress(Overloaded):  # the other client may have used it up
        ask(kind, address, api_key=slow, retry=once)
    with pytest.raises(Overloaded, match="requests_per_s") as caught:
        ask(kind, address, api_key=slow, retry=once)
    assert caught.value.status == 429
    assert caught.value.retry_after_s > 60
    (violation,) = caught.value.violations
    assert violation.limit == "requests_per_s"
