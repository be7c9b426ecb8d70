"""What the chart makes of hw_configs and of values."""

import base64
import hashlib
import json

import pytest
import yaml
from support.chart import (
    CHART,
    environment,
    helm,
    named,
    pods,
    refused,
    rendered,
    setting,
)

from backends.registry import Registry

TARGETS = Registry().targets
FRONT = ("cpu", "numpy", "loihi-emulator")
DEPLOYED = sorted(TARGETS.keys() - set(FRONT))
CHIP = setting(["targets.loihi2-chip.boards=2", "targets.loihi2-chip.replicas=2"])


def all_targets():
    return setting([f"targets.{name}.replicas=1" for name in DEPLOYED])


def deployments(manifests):
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == "Deployment"}


@pytest.mark.parametrize("values", ["values.yaml", "values-lab.yaml"])
def test_lint(values):
    done = helm("lint", "--strict", CHART, "--values", CHART / values)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_target_of_hw_configs_can_be_deployed():
    """One that comes anew must need nothing here."""
    manifests = rendered(*all_targets())
    served = [environment(pod).get("SNN_FUSION_TARGETS") for name, pod in pods(manifests).items()
              if name in deployments(manifests)]  # fmt: skip
    assert sorted(name for names in served for name in names.split(",")) == sorted(TARGETS)


def test_a_chart_without_targets_is_refused(tmp_path):
    """Helm renders nothing for files that it cannot read, and says nothing about it."""
    broken = tmp_path / "chart"
    broken.mkdir()
    for path in CHART.rglob("*"):
        if path.is_file() and not path.is_symlink() and "hw_configs" not in path.parts:
            copy = broken / path.relative_to(CHART)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    done = helm("template", "x", broken)
    assert done.returncode != 0
    assert "holds no targets" in done.stderr


def test_a_package_carries_the_targets(tmp_path):
    assert helm("package", CHART, "-d", tmp_path).returncode == 0
    (package,) = tmp_path.glob("*.tgz")
    done = helm("template", "snn-fusion", package, *setting(["targets.brian2.replicas=1"]))
    assert "name: snn-fusion-brian2" in done.stdout, done.stderr


def test_defaults_are_the_front_and_redis():
    manifests = rendered()
    assert list(deployments(manifests)) == ["snn-fusion-api"]
    pod = pods(manifests)["snn-fusion-api"]
    assert pod["containers"][0]["name"] == "snn-fusion-api"
    assert environment(pod)["SNN_FUSION_TARGETS"] == ",".join(FRONT)
    assert "SNN_FUSION_PEERS" not in environment(pod)
    assert named(manifests, "StatefulSet", "snn-fusion-redis")


def test_null_takes_a_target_out():
    manifests = rendered(*setting(["targets.brian2.replicas=1", "targets.brian2=null"]))
    assert list(deployments(manifests)) == ["snn-fusion-api"]


def test_the_front_is_told_of_every_deployment_and_each_has_a_service():
    manifests = rendered(*all_targets())
    peers = environment(pods(manifests)["snn-fusion-api"])["SNN_FUSION_PEERS"]
    wanted = {name: f"http://snn-fusion-{name}:8080" for name in DEPLOYED}
    assert dict(peer.split("=", 1) for peer in peers.split(",")) == wanted
    for name, deployment in deployments(manifests).items():
        service = named(manifests, "Service", name)["spec"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["selector"].items() <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"] == service["selector"]
        assert service["ports"][0]["port"] == 8080
    selectors = [json.dumps(d["spec"]["selector"]) for d in deployments(manifests).values()]
    assert len(set(selectors)) == len(selectors)


def test_hardware_runs_only_where_its_board_is():
    target = TARGETS["loihi2-chip"]
    manifests = rendered(*CHIP)
    pod = pods(manifests)["snn-fusion-loihi2-chip"]
    key, _, value = target.node_label.partition("=")
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": key, "operator": "In", "values": [value]}]
    assert pod["tolerations"] == [
        {
            "key": target.taint.key,
            "operator": "Equal",
            "value": target.taint.value,
            "effect": target.taint.effect,
        }
    ]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"][target.node_resource] == "1"
    assert resources["requests"][target.node_resource] == "1"
    rolling = deployments(manifests)["snn-fusion-loihi2-chip"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


def test_quantities_are_text():
    """A server of version 1.20 refuses numbers where Helm applies on the server's side."""
    manifests = rendered(*setting(["front.resources.requests.cpu=1"]))
    resources = pods(manifests)["snn-fusion-api"]["containers"][0]["resources"]
    assert resources["requests"]["cpu"] == "1"


def test_a_limit_can_be_taken_away():
    manifests = rendered(*setting(["front.resources.limits.cpu=null"]))
    resources = pods(manifests)["snn-fusion-api"]["containers"][0]["resources"]
    assert resources["limits"] == {"memory": "2Gi"}


def test_without_a_claim_there_is_one_pod_a_node():
    manifests = rendered(*CHIP, *setting(["targets.loihi2-chip.claim=false"]))
    pod = pods(manifests)["snn-fusion-loihi2-chip"]
    assert TARGETS["loihi2-chip"].node_resource not in pod["containers"][0]["resources"]["limits"]
    apart = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = deployments(manifests)["snn-fusion-loihi2-chip"]["spec"]["template"]["metadata"]
    assert apart[0]["labelSelector"]["matchLabels"].items() <= labels["labels"].items()


def test_simulators_and_the_front_rather_run_elsewhere():
    manifests = rendered(*setting(["targets.brian2.replicas=1"]))
    for name in ("snn-fusion-api", "snn-fusion-brian2"):
        pod = pods(manifests)[name]
        (wish,) = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        (term,) = wish["preference"]["matchExpressions"]
        assert term == {"key": "snn-fusion/board", "operator": "DoesNotExist"}
        assert "tolerations" not in pod


def test_lava_s_targets_run_in_lava_s_image():
    found = pods(rendered(*all_targets()))
    for name in DEPLOYED:
        lava = TARGETS[name].backend in ("lava", "loihi2-chip")
        image = found[f"snn-fusion-{name}"]["containers"][0]["image"]
        assert image == ("snn-fusion-loihi:latest" if lava else "snn-fusion:latest")


def test_a_pod_is_given_longer_to_stop_than_its_longest_request():
    found = pods(rendered(*all_targets()))
    for name, pod in found.items():
        if "SNN_FUSION_TARGETS" not in environment(pod):
            continue
        served = (
            DEPLOYED if name.endswith("-api") else environment(pod)["SNN_FUSION_TARGETS"].split(",")
        )
        longest = max(TARGETS[target].max_run_s for target in served)
        assert int(environment(pod)["SNN_FUSION_SHUTDOWN_S"]) >= longest
        (command,) = [pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]]
        assert pod["terminationGracePeriodSeconds"] > longest + int(command[1])


def test_defaults_fit_four_cores_and_eight_gib_during_a_rolling_update():
    cores, gib = requested(rendered(), surge=1)
    assert cores <= 4
    assert gib <= 8


def test_the_lab_fits_two_cores():
    options = ("--values", str(CHART / "values-lab.yaml"), *setting(["targets.brian2.replicas=1"]))
    cores, _ = requested(rendered(*options), surge=1)
    assert cores <= 1


def requested(manifests, surge):
    scaled = {m["metadata"]["name"]: m["spec"]["minReplicas"] for m in manifests
              if m["kind"] == "HorizontalPodAutoscaler"}  # fmt: skip
    cores = gib = 0.0
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        if manifest["kind"] not in ("Deployment", "StatefulSet"):
            continue
        count = scaled.get(name) or manifest["spec"]["replicas"]
        count += surge if manifest["kind"] == "Deployment" else 0
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            asked = container["resources"]["requests"]
            cores += count * int(asked["cpu"].removesuffix("m")) / 1000
            unit = {"Mi": 1 / 1024, "Gi": 1}[asked["memory"][-2:]]
            gib += count * int(asked["memory"][:-2]) * unit
    return cores, gib


def test_who_is_scaled():
    manifests = rendered(*all_targets(), *setting(["targets.brian2.autoscaling.enabled=true"]))
    scaled = {m["metadata"]["name"]: m["spec"] for m in manifests
              if m["kind"] == "HorizontalPodAutoscaler"}  # fmt: skip
    assert scaled.keys() == {"snn-fusion-api", "snn-fusion-brian2"}
    assert (scaled["snn-fusion-api"]["minReplicas"], scaled["snn-fusion-api"]["maxReplicas"]) == (
        3,
        10,
    )
    target = scaled["snn-fusion-api"]["metrics"][0]["resource"]["target"]
    assert target == {"type": "Utilization", "averageUtilization": 70}
    for name in scaled:  # else every upgrade would undo what the autoscaler did
        assert "replicas" not in deployments(manifests)[name]["spec"]


def test_uploads_need_a_store_that_pods_share():
    def uploads(*values):
        data = named(rendered(*setting(values)), "ConfigMap", "snn-fusion-settings")["data"]
        return data["SNN_FUSION_UPLOADS"], data.get("SNN_FUSION_STORE")

    alone = ("front.autoscaling.enabled=false", "front.replicas=1")
    assert uploads() == ("false", None)
    assert uploads(*alone) == ("true", None)
    assert uploads(*alone, "targets.brian2.replicas=1") == ("false", None)
    assert uploads("models.storeUrl=s3://lab/models") == ("true", "s3://lab/models")
    assert uploads("models.claim.enabled=true") == ("true", "/var/lib/snn-fusion-models")
    assert "ReadWriteMany" in refused(
        *setting(["models.claim.enabled=true", "models.claim.accessMode=ReadWriteOnce"])
    )


def test_pods_see_hashes_of_keys_only():
    manifests = rendered()
    keys = decoded(named(manifests, "Secret", "snn-fusion-keys"))
    for name in ("first", "metrics"):
        assert hashlib.sha256(keys[f"{name}-key"].encode()).hexdigest() in keys["keys.yaml"]
        assert keys[f"{name}-key"] not in keys["keys.yaml"]
        assert keys[f"{name}-key"].startswith(f"snf_{name}_")
    (volume,) = (v for v in pods(manifests)["snn-fusion-api"]["volumes"] if v["name"] == "keys")
    assert volume["secret"]["items"] == [{"key": "keys.yaml", "path": "keys.yaml"}]


def test_redis_wants_the_password_of_its_url():
    manifests = rendered()
    secrets = decoded(named(manifests, "Secret", "snn-fusion-secrets"))
    password = secrets["redis-password"]
    assert secrets["redis-url"] == f"redis://snn-fusion:{password}@snn-fusion-redis:6379/0"
    assert f"user snn-fusion on >{password} " in secrets["users.acl"]
    assert "user default off" in secrets["users.acl"]


def test_prometheus_has_a_key_of_its_own_or_needs_none():
    def monitor(*values):
        found = rendered(*setting(["monitoring.operator=true", *values]))
        (endpoint,) = named(found, "ServiceMonitor", "snn-fusion")["spec"]["endpoints"]
        pod = named(found, "Deployment", "snn-fusion-api")["spec"]["template"]["metadata"]
        return endpoint.get("authorization"), pod["annotations"].get("prometheus.io/scrape")

    key = {"name": "snn-fusion-keys", "key": "metrics-key"}
    assert monitor() == ({"credentials": key}, None)
    assert monitor("monitoring.openMetrics=true") == (None, "true")


def decoded(secret):
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def test_a_lab_s_own_target():
    chip = {
        "name": "my-chip",
        "backend": "mine",
        "capabilities": {"hardware": True},
        "node_label": "lab.example/chip=mine",
        "node_resource": "lab.example/chip",
    }
    options = ("--set-json", f"hwConfigs={json.dumps({'my-chip': chip})}",
               *setting(["targets.my-chip.replicas=1"]))  # fmt: skip
    manifests = rendered(*options)
    data = named(manifests, "ConfigMap", "snn-fusion-hw-configs")["data"]
    assert yaml.safe_load(data["my-chip.yaml"]) == chip
    pod = pods(manifests)["snn-fusion-my-chip"]
    assert pod["containers"][0]["resources"]["limits"]["lab.example/chip"] == "1"
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    settings = named(manifests, "ConfigMap", "snn-fusion-settings")["data"]
    assert settings["SNN_FUSION_HW_CONFIGS"] in mounts


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["targets.brain2.replicas=1"], ["targets: there is no target brain2", "brian2, cpu"]),
        (["front.targets={cpu,nunpy}"], ["front.targets: there is no target nunpy"]),
        (["front.targets={numpy}"], ["front.defaultTarget: cpu is not among"]),
        (["front.targets={cpu,loihi2-chip}"], ["loihi2-chip has hardware"]),
        (["targets.cpu.replicas=1"], ["targets.cpu: the front runs it already"]),
        (["targets.loihi2-chip.replicas=2"], ["replicas: 2, but boards is 1"]),
        (["targets.loihi2-chip.autoscaling.enabled=true"], ["not scaled by CPU"]),
        (["front.replicas=0"], ["/front/replicas", "minimum"]),
        (["front.replicsa=2"], ["/front", "replicsa"]),
        (["settings.env=prod"], ["/settings/env", "production"]),
        (["settings.port=80"], ["/settings/port", "1,024"]),
        (["front.resources.limits.memory=2Gb"], ["/front/resources/limits/memory"]),
        (["redis.enabled=false"], ["redis.url or redis.existingSecret must name one"]),
        (["redis.url=redis://elsewhere:6379"], ["set redis.enabled: false"]),
        (["redis.url=elsewhere:6379"], ["/redis/url"]),
        (["models.storeUrl=s3://a/b", "models.claim.enabled=true"], ["choose one"]),
    ],
)
def test_nonsense_is_refused_by_name(values, says):
    told = refused(*setting(values))
    assert all(part in told for part in says), told
