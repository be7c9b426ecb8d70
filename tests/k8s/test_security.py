"""Pods, accounts and the network hold to what "restricted" asks for, and to more."""

import pytest
from support.chart import EVERYTHING, named, pods, rendered

SERVICE = {"snn-fusion-api", "snn-fusion-brian2", "snn-fusion-loihi-lava", "snn-fusion-loihi2-chip"}


def every_pod():
    return pods(rendered(*EVERYTHING))


def containers(pod):
    return pod["containers"]


def test_the_pods_that_are_looked_at_are_all():
    assert set(every_pod()) == {*SERVICE, "snn-fusion-redis", "snn-fusion-test-fuse"}


def test_no_pod_is_root_or_unconfined():
    for name, pod in every_pod().items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] >= 10000, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name


def test_no_container_can_gain_anything():
    for name, pod in every_pod().items():
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


def test_no_pod_shares_anything_with_its_node():
    allowed = {"emptyDir", "secret", "configMap", "projected", "persistentVolumeClaim"}
    for name, pod in every_pod().items():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        for volume in pod.get("volumes", ()):
            assert (volume.keys() - {"name"}) <= allowed, name
        for container in containers(pod):
            assert all("hostPort" not in port for port in container.get("ports", ())), name


def test_no_pod_has_a_token_or_is_told_of_other_services():
    for name, pod in every_pod().items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name


def test_every_container_has_requests_and_a_memory_limit():
    for name, pod in every_pod().items():
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), name
            assert "memory" in resources["limits"], name


def test_no_secret_is_an_environment_variable_of_the_service():
    """Files can be changed without a restart and do not show in `describe`."""
    for name in SERVICE:
        (container,) = every_pod()[name]["containers"]
        assert all("valueFrom" not in entry for entry in container["env"])
        assert all("secretRef" not in entry for entry in container["envFrom"])


def test_the_service_may_ask_the_cluster_for_nothing():
    kinds = {manifest["kind"] for manifest in rendered()}
    assert not {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"} & kinds
    account = named(rendered(), "ServiceAccount", "snn-fusion")
    assert account["automountServiceAccountToken"] is False


def test_operators_read_no_secrets_and_rule_no_cluster():
    manifests = rendered(*EVERYTHING)
    assert not {m["kind"] for m in manifests} & {"ClusterRole", "ClusterRoleBinding"}
    rules = named(manifests, "Role", "snn-fusion-operator")["rules"]
    for rule in rules:
        assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]
        assert "secrets" not in rule["resources"]


def selected(policy, labels):
    selector = policy["spec"]["podSelector"]
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        term["operator"] == "In" and labels.get(term["key"]) in term["values"]
        for term in selector.get("matchExpressions", ())
    )


def policies(component):
    manifests = rendered(*EVERYTHING)
    labels = {
        "app.kubernetes.io/name": "snn-fusion",
        "app.kubernetes.io/instance": "snn-fusion",
        "app.kubernetes.io/component": component,
        "snn-fusion/target": "loihi2-chip" if component == "hardware" else "",
    }
    return [m for m in manifests if m["kind"] == "NetworkPolicy" and selected(m, labels)]


@pytest.mark.parametrize("component", ["front", "simulator", "hardware", "redis"])
def test_both_directions_are_closed_for_every_pod(component):
    closed = {way for policy in policies(component) for way in policy["spec"]["policyTypes"]}
    assert closed == {"Ingress", "Egress"}


@pytest.mark.parametrize(
    ("component", "ports"),
    [("front", {53, 8080, 6379}), ("simulator", {53, 6379}), ("redis", {53})],
)
def test_the_few_ways_out(component, ports):
    rules = [rule for policy in policies(component) for rule in policy["spec"].get("egress", ())]
    assert {port["port"] for rule in rules for port in rule["ports"]} == ports
    assert all("to" in rule or rule["ports"][0]["port"] == 53 for rule in rules)


@pytest.mark.parametrize(
    ("component", "port"), [("front", 8080), ("hardware", 8080), ("redis", 6379)]
)
def test_the_few_ways_in(component, port):
    rules = [rule for policy in policies(component) for rule in policy["spec"].get("ingress", ())]
    assert rules
    for rule in rules:
        assert rule["from"]
        assert all(peer for peer in rule["from"])
        assert [entry["port"] for entry in rule["ports"]] == [port]


def test_a_board_s_own_way_out_is_its_alone():
    extra = "snn-fusion-loihi2-chip-egress"
    assert extra in {policy["metadata"]["name"] for policy in policies("hardware")}
    assert extra not in {policy["metadata"]["name"] for policy in policies("simulator")}
