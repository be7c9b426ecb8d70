"""What the installed service answers, and what it does when things change, end and come back."""

from support.cluster import wait
from support.model_calls import EVENTS
from support.stored import upload

LONG_S = 120


def test_the_installation_is_well(cluster):
    said = cluster.script("health_check", check=False)
    assert said.stderr.count("PROBLEM") == said.stderr.count("the autoscaler"), said.stderr


def test_helm_s_own_test_asks_every_target(cluster):
    told = cluster.helm("test", cluster.release, "--logs", "--timeout", "10m").stdout
    for target in ("cpu", "numpy", "loihi-emulator", *cluster.targets):
        assert f"{target}: 7" in told


def test_each_deployment_answers_through_its_service(cluster):
    for target in cluster.targets:
        outcome = cluster.ask_owner(target)
        assert outcome["failed"] == {}, outcome


def test_the_front_sends_requests_to_the_owner(cluster):
    """The owner's own count rises, and the front did not run it."""
    outcome = cluster.ask("brian2")
    assert outcome["failed"] == {}, outcome
    text = metrics(cluster, "brian2")
    assert any(
        line.startswith("snn_fusion_run_seconds_count") and 'target="brian2"' in line
        for line in text.splitlines()
    )
    assert 'snn_fusion_run_seconds_count{model="av_digits",target="brian2"}' not in metrics(
        cluster, "api"
    )


def metrics(cluster, name):
    code = (
        "import sys, urllib.request as r; print(r.urlopen(r.Request("
        "'http://127.0.0.1:8080/metrics', headers={'Authorization': 'Bearer ' + sys.argv[1]}))"
        ".read().decode())"
    )
    deployment = f"deployment/{cluster.release}-{name}"
    return cluster.kubectl("exec", deployment, "--", "python", "-c", code, cluster.key()).stdout


def test_upgrade_and_rollback_lose_no_request(cluster):
    front = f"deployment/{cluster.release}-api"
    with cluster.asking(LONG_S) as outcome:
        cluster.upgrade("podAnnotations.changed=yes")
        cluster.rolled_out(front)
        cluster.helm("rollback", cluster.release)
        cluster.rolled_out(front)
    assert outcome["asked"] > 100
    assert outcome["failed"] == {}


def test_a_pod_that_is_deleted_loses_no_request(cluster):
    cluster.script("scaling", "scale", 2)
    cluster.rolled_out(f"deployment/{cluster.release}-api")
    label = "app.kubernetes.io/component=front"
    with cluster.asking(60) as outcome:
        pod = cluster.get("pods", "-l", label)[0]["metadata"]["name"]
        cluster.kubectl("delete", "pod", pod, "--timeout=300s")
        cluster.rolled_out(f"deployment/{cluster.release}-api")
    cluster.script("scaling", "scale", 1)
    assert outcome["asked"] > 50
    assert outcome["failed"] == {}


def test_a_container_that_ends_is_started_again(cluster):
    front = "app.kubernetes.io/component=front"
    name = cluster.get("pods", "-l", front)[0]["metadata"]["name"]
    end = "import os, signal; os.kill(1, signal.SIGTERM)"
    cluster.kubectl("exec", name, "--", "python", "-c", end, check=False)

    def restarted():
        (status,) = cluster.get("pod", name)["status"]["containerStatuses"]
        return status["restartCount"] and status["ready"]

    wait(restarted, 400)
    assert cluster.ask("cpu")["failed"] == {}


def test_without_redis_requests_are_answered(cluster):
    redis = f"statefulset/{cluster.release}-redis"
    with cluster.asking(60) as outcome:
        cluster.kubectl("scale", redis, "--replicas=0")
        wait(lambda: not ready(cluster, f"{cluster.release}-redis"))
        cluster.kubectl("scale", redis, "--replicas=1")
        cluster.rolled_out(redis)
    assert outcome["failed"] == {}


def ready(cluster, name):
    return cluster.get("statefulset", name)["status"].get("readyReplicas", 0)


def test_what_is_wrong_is_named(cluster):
    cluster.upgrade("image.tag=none-such", "image.pullPolicy=Never")
    try:
        wait(lambda: "image" in cluster.script("health_check", check=False).stderr)
        assert cluster.ask("cpu")["failed"] == {}, "the old pods go on"
    finally:
        cluster.helm("rollback", cluster.release)
        cluster.rolled_out(f"deployment/{cluster.release}-api")


def test_saved_deleted_and_restored(cluster, tmp_path):
    """Also with uploaded models, where the values give them a place (models.claim)."""
    key = cluster.key()
    digest = uploaded(cluster)
    operator = ("redis-cli", "--user", "operator", "--no-auth-warning")
    pod = f"{cluster.release}-redis-0"
    cluster.kubectl("exec", pod, "--", *operator, "SET", "snn-fusion:kept", "yes")
    file = tmp_path / "saved.tar.gz"
    cluster.script("backup", "--out", file)
    assert file.stat().st_mode & 0o077 == 0
    cluster.remove()
    cluster.script("restore", file)
    assert cluster.key() == key
    got = cluster.kubectl("exec", pod, "--", *operator, "GET", "snn-fusion:kept").stdout
    assert got.strip() == "yes"
    for target in ("cpu", *cluster.targets):
        wait(lambda target=target: cluster.ask(target)["failed"] == {}, 600)
    wait(lambda: answering(cluster) == digest)


def uploaded(cluster):
    """Upload a model and return the digest that answers, None where uploads are refused."""
    settings = cluster.get("configmap", f"{cluster.release}-settings")["data"]
    if settings["SNN_FUSION_UPLOADS"] != "true":
        return None
    with cluster.caller() as client:
        reply = client.post("/v1/models", content=upload())
        assert reply.status_code == 201, reply.text
        wait(lambda: client.get("/v1/models/small").json()["state"] == "ready")
    return answering(cluster)


def answering(cluster):
    with cluster.caller() as client:
        reply = client.post("/v1/fuse", json={"model": "small", "sensors": EVENTS})
    return reply.json()["model"]["digest"] if reply.status_code == 200 else None
