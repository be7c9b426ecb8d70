"""The services of one machine: hardened, local, with passwords that nobody chose."""

import os
import re
import subprocess

import pytest
import yaml
from k8s.test_chart import decoded
from support.chart import ROOT, named, rendered, tool

from api.access.keys import hash_of
from api.access.keys_file import parse_keys
from api.access.scopes import GRANTED
from api.settings import PREFIX, Settings

COMPOSE = ROOT / "k8s/compose"
SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder in which setup.sh ran."""
    script = tmp_path / "setup.sh"
    script.write_bytes((COMPOSE / "setup.sh").read_bytes())
    setup(tmp_path)
    return tmp_path


def setup(folder, *arguments):
    command = ["bash", folder / "setup.sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def secrets(folder):
    return {path.name: path.read_text() for path in (folder / "secrets").iterdir()}


def test_setup_makes_secrets_once(folder):
    made = secrets(folder)
    told = setup(folder)
    assert secrets(folder) == made
    assert made["first-key"] in told
    assert made["grafana-password"] in told
    assert len(set(made.values())) == len(made)
    assert len(made["grafana-password"]) > 30
    assert (folder / "secrets").stat().st_mode & 0o077 == 0
    assert (folder / ".env").stat().st_mode & 0o077 == 0


def test_setup_explains_itself(folder):
    assert "usage: setup.sh" in setup(folder, "--help")


def test_no_password_is_committed():
    listed = subprocess.run(
        ["git", "check-ignore", "k8s/compose/.env", "k8s/compose/secrets/first-key"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert len(listed.stdout.split()) == 2
    text = (COMPOSE / "compose.yaml").read_text()
    assert not re.search(r"(?i)password: +[a-z0-9]", text)


def test_keys_of_setup_and_of_the_chart_are_what_the_service_reads(folder):
    made = secrets(folder)
    of_chart = decoded(named(rendered(), "Secret", "snn-fusion-keys"))
    for keys in (made, of_chart):
        entries = parse_keys(keys["keys.yaml"].encode(), "keys.yaml")
        assert entries["first"].granted == frozenset(GRANTED)
        assert entries["metrics"].scopes == ("metrics",)
        for name, entry in entries.items():
            assert entry.hash == hash_of(keys[f"{name}-key"])


def test_redis_users_of_setup_are_those_of_the_chart(folder):
    of_chart = decoded(named(rendered(), "Secret", "snn-fusion-secrets"))["users.acl"]
    passwords = re.compile(r">\w+")
    assert passwords.sub(">", secrets(folder)["users.acl"]) == passwords.sub(">", of_chart)


def test_every_service_is_hardened_and_local():
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert re.search(r":(\$|v?\d)", service["image"]) or "SNN_FUSION_IMAGE" in service["image"]


def test_settings_and_mounted_files_exist(folder):
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    assert set(SERVICES["snn-fusion"]["environment"]) <= known
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (folder / source).exists(), source
            elif source.startswith("../"):
                assert (COMPOSE / source).exists(), source


def test_settings_of_the_chart_exist():
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    data = named(rendered(), "ConfigMap", "snn-fusion-settings")["data"]
    assert {name for name in data if name.startswith(PREFIX)} <= known


def test_prometheus_reads_its_configuration(folder, tmp_path):
    place = tmp_path / "prometheus"
    place.mkdir()
    for file in ("prometheus.yaml", "rules.yaml"):
        (place / file).write_bytes((ROOT / "k8s/monitoring" / file).read_bytes())
    (place / "metrics-key").write_text(secrets(folder)["metrics-key"])
    done = subprocess.run(
        [tool("promtool"), "check", "config", place / "prometheus.yaml"],
        env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_dashboards_and_their_source():
    provisioning = ROOT / "k8s/monitoring/grafana"
    (provider,) = yaml.safe_load((provisioning / "dashboards/snn-fusion.yaml").read_text())[
        "providers"
    ]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["../monitoring/dashboards"] == provider["options"]["path"]
    assert mounts["../monitoring/grafana"] == "/etc/grafana/provisioning"
