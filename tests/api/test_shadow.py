from pathlib import Path

import pytest
from support.api_backends import Gate, HeavyRegistry, HookedRegistry, erring, failing
from support.api_models import body
from support.api_server import answer_of, running, until

from api.app import create_app
from api.settings import InvalidSettings, load_settings

ROOT = Path(__file__).parents[2]


def shadowed(shelf_dir, target, share=1.0, registry=None, **settings):
    """Serve with a shadow target."""
    made = load_settings(models_dir=shelf_dir, shadow_target=target, shadow_share=share, **settings)
    return running(made, registry=registry)


def count(server, **labels):
    return server.metric("snn_fusion_shadow_total", **labels)


def dropped(server):
    return server.metric("snn_fusion_shadow_dropped_total")


def mismatched(server):
    return server.metric("snn_fusion_shadow_mismatched_bins_total")


def test_a_twin_in_the_deployments_own_folder_is_identical(shelf_dir, tmp_path):
    text = (ROOT / "hw_configs" / "numpy.yaml").read_text()
    (tmp_path / "twin.yaml").write_text(text.replace("name: numpy", "name: twin"))
    with shadowed(shelf_dir, "twin", hw_configs=tmp_path) as server:
        answer_of(server.fuse(body()))
        answer_of(server.fuse(body(record=["all"], dt_s=0.004)))
        labels = {"model": "listening", "target": "cpu", "shadow": "twin"}
        until(lambda: count(server, verdict="identical", **labels) == 2)
        assert (count(server), mismatched(server), dropped(server)) == (2, 0, 0)


@pytest.mark.full
def test_the_engines_that_ship_are_identical(shelf_dir):
    with shadowed(shelf_dir, "brian2") as server:
        answer_of(server.fuse(body()))
        until(lambda: count(server))
        assert count(server, verdict="identical", shadow="brian2") == 1


def test_a_difference_is_counted_in_bins(shelf_dir):
    with shadowed(shelf_dir, "heavy", registry=HeavyRegistry()) as server:
        compared = server.client.post("/v1/compare", json=body(targets=["numpy", "heavy"]))
        (pair,) = compared.json()["pairs"]
        answer_of(server.fuse(body()))
        until(lambda: count(server))
        assert count(server, verdict=pair["verdict"], shadow="heavy") == 1
        assert mismatched(server) == sum(one["mismatched"] for one in pair["populations"]) > 0


def test_every_so_manyth_request_is_sampled(shelf_dir):
    with shadowed(shelf_dir, "heavy", 0.25, HeavyRegistry()) as server:
        sampled, lane = [], server.service.shadow.lane
        for n in range(1, 13):
            answer_of(server.fuse(body()))
            until(lambda: lane.running == lane.waiting == 0)
            if count(server) > len(sampled):
                sampled.append(n)
        assert sampled == [4, 8, 12]


def test_requests_that_name_the_shadow_or_fail_are_left_out(shelf_dir):
    with shadowed(shelf_dir, "heavy", registry=HeavyRegistry()) as server:
        answer_of(server.fuse(body(target="heavy")))
        assert server.fuse(body(target="abacus")).status_code == 404
        assert server.fuse({}).status_code == 422
        answer_of(server.fuse(body()))
        until(lambda: count(server))
        assert count(server, target="cpu") == count(server) == 1


def test_live_requests_go_on_while_the_shadow_is_busy_and_the_rest_is_dropped(shelf_dir):
    gate = Gate()
    with shadowed(shelf_dir, "hooked", registry=HookedRegistry(gate)) as server:
        first = answer_of(server.fuse(body()))
        assert gate.entered.acquire(timeout=60)
        lane = server.service.shadow.lane
        for _ in range(lane.max_queue + 2):
            assert answer_of(server.fuse(body())) == first
        assert (count(server), dropped(server)) == (0, 2)
        gate.opened.set()
        until(lambda: count(server, verdict="identical") == 1 + lane.max_queue)
        assert dropped(server) == 2


@pytest.mark.parametrize("fault", [failing, erring])
def test_a_shadow_that_fails_fails_nobody(shelf_dir, fault):
    with shadowed(shelf_dir, "hooked", registry=HookedRegistry(fault)) as server:
        assert answer_of(server.fuse(body())) == answer_of(server.fuse(body()))
        until(lambda: count(server, verdict="failed") == 2)
        assert (count(server), mismatched(server)) == (2, 0)


def test_a_shadow_that_cannot_be_used_is_counted_as_failed(shelf_dir, tmp_path):
    text = (ROOT / "hw_configs" / "numpy.yaml").read_text()
    text = text.replace("name: numpy", "name: absent").replace("backend: numpy", "backend: none")
    (tmp_path / "absent.yaml").write_text(text)
    with shadowed(shelf_dir, "absent", hw_configs=tmp_path) as server:
        answer_of(server.fuse(body()))
        until(lambda: count(server, verdict="failed", shadow="absent") == 1)


@pytest.mark.parametrize("settings", [{}, {"shadow_target": "brian2", "shadow_share": 0}])
def test_without_a_target_or_a_share_there_is_no_shadow(shelf_dir, settings):
    app = create_app(load_settings(models_dir=shelf_dir, **settings))
    assert app.state.service.shadow is None


def test_a_live_request_that_ends_after_closing_is_dropped_quietly(shelf_dir):
    with shadowed(shelf_dir, "heavy", registry=HeavyRegistry()) as server:
        server.service.shadow.close()
        answer_of(server.fuse(body()))
        assert dropped(server) == 1


def test_wrong_settings_name_their_variable(shelf_dir):
    with pytest.raises(InvalidSettings, match="SNN_FUSION_SHADOW_SHARE"):
        load_settings(shadow_share=1.5)
    settings = load_settings(models_dir=shelf_dir, shadow_target="abacus")
    with pytest.raises(InvalidSettings, match="SNN_FUSION_SHADOW_TARGET: 'abacus' is no target"):
        create_app(settings)
