import threading

import nir
from support.api_backends import HookedRegistry
from support.api_models import body, listening_graph, write_shelf
from support.api_server import running, until

from api.settings import load_settings
from backends.errors import TargetUnavailable
from backends.numpy_backend import NumpyBackend
from fusion.shelf import Shelf


class SlowRegistry(HookedRegistry):
    """Its default target compiles only when the test lets it, and can be taken away."""

    def __init__(self):
        super().__init__(lambda: None)
        self.may_compile = threading.Event()
        self.gone = False
        outer = self

        class Slow(NumpyBackend):
            def available(self):
                if outer.gone:
                    raise TargetUnavailable("numpy", "it was taken away", "bring it back")

            def compile(self, model, contract):
                assert outer.may_compile.wait(60)
                return super().compile(model, contract)

        self.slow = Slow(self.targets["numpy"])

    def backend(self, name):
        return self.slow if name == "numpy" else super().backend(name)


def test_probes_follow_the_life_of_the_service(shelf_dir):
    registry = SlowRegistry()
    settings = load_settings(models_dir=shelf_dir, target="numpy")
    with running(settings, registry=registry) as server:

        def probe(name):
            reply = server.client.get(f"/healthz/{name}")
            assert reply.json()["ok"] == (reply.status_code == 200)
            return reply.status_code, " ".join(reply.json()["reasons"])

        assert probe("live") == (200, "")
        assert probe("startup") == (503, "models are being compiled")
        assert probe("ready") == (503, "models are being compiled")
        registry.may_compile.set()
        server.wait_until_ready()
        assert probe("startup") == (200, "")
        registry.gone = True
        status, reasons = probe("ready")
        assert status == 503
        assert "it was taken away" in reasons
        assert probe("live") == (200, "")
        registry.gone = False
        server.service.health.drain()
        assert probe("ready") == (503, "draining")
        assert probe("live") == (200, "")
        assert server.fuse(body()).status_code == 200, "what still comes is answered"


def test_a_model_that_cannot_be_compiled_does_not_keep_the_others_down(tmp_path):
    shelf = write_shelf(tmp_path)
    text = (shelf / "listening" / "fusion.yaml").read_text()
    (shelf / "other").mkdir()
    graph = listening_graph()
    graph.nodes["cam_li"].tau = -graph.nodes["cam_li"].tau
    nir.write(shelf / "other" / "graph.nir", graph)
    (shelf / "other" / "fusion.yaml").write_text(text.replace("name: listening", "name: other"))
    with running(load_settings(models_dir=shelf, model="listening")) as server:
        server.wait_until_ready()
        reply = server.client.get("/healthz/startup")
        assert reply.status_code == 200
        assert "cam_li.tau" in reply.json()["problems"]["other"]
        models = {m["name"]: m for m in server.client.get("/v1/models").json()["models"]}
        assert "cam_li.tau" in models["other"]["problem"]
        assert server.fuse(body()).status_code == 200
        assert server.fuse(body(model="other")).status_code == 422


def test_an_empty_shelf_is_served_and_told(tmp_path):
    with running(load_settings(models_dir=tmp_path)) as server:
        server.wait_until_ready()
        assert server.client.get("/v1/models").json() == {"models": [], "problems": []}
        reply = server.fuse(body())
        assert reply.status_code == 404
        assert reply.json()["field"] == "model"


def test_a_warm_up_that_breaks_off_is_told(shelf_dir):
    class Broken(Shelf):
        @property
        def models(self):
            raise PermissionError("not for you")

    with running(load_settings(models_dir=shelf_dir), shelf=Broken(shelf_dir)) as server:
        until(lambda: server.service.health.failure)
        for probe in ("startup", "ready"):
            reply = server.client.get(f"/healthz/{probe}")
            assert reply.status_code == 503
            assert reply.json()["reasons"] == ["the warm-up broke off: PermissionError"]
