"""Alerts fire when they should, and each has a page; dashboards ask for metrics that exist."""

import importlib.util
import json
import re
import subprocess

import pytest
import yaml
from prometheus_client import CollectorRegistry
from support.chart import ROOT, named, rendered, setting, tool

from api.metrics import Metrics

MONITORING = ROOT / "k8s/monitoring"
RUNBOOKS = ROOT / "docs/runbooks"
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
TESTS = yaml.safe_load((MONITORING / "rules_test.yaml").read_text())["tests"]
METRIC = re.compile(r"\bsnn_fusion_[a-z_]+")
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def promtool(*arguments):
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_their_tests():
    promtool("check", "rules", MONITORING / "rules.yaml")
    promtool("test", "rules", MONITORING / "rules_test.yaml")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tried_both_ways(alert):
    tried = [bool(case["exp_alerts"]) for test in TESTS for case in test["alert_rule_test"]
             if case["alertname"] == alert]  # fmt: skip
    assert True in tried
    assert False in tried


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_page(alert):
    rule = ALERTS[alert]
    page = ROOT / rule["annotations"]["runbook"]
    assert page.name == f"{alert}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    for part in ("**Means**", "**Look**", "**Do**"):
        assert part in text
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_no_page_is_left_of_an_alert_that_is_gone():
    assert {path.stem for path in RUNBOOKS.glob("SnnFusion*.md")} == set(ALERTS)


def exposed():
    registry = CollectorRegistry()
    Metrics(registry)
    return {metric.name for metric in registry.collect()}


def queries():
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


def test_every_metric_that_is_asked_for_exists():
    known = exposed()
    asked = [rule["expr"] for rule in ALERTS.values()] + [query for _, query in queries()]
    names = {name for text in asked for name in METRIC.findall(text)}
    assert len(names) > 20
    assert {name for name in names if SUFFIX.sub("", name) not in known} == set()


def test_dashboards_are_as_made():
    spec = importlib.util.spec_from_file_location("dashboards", MONITORING / "make_dashboards.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for name in maker.DASHBOARDS:
        assert (MONITORING / f"dashboards/{name}.json").read_text() == maker.written(name)


def test_panels_lie_beside_each_other():
    for path in (MONITORING / "dashboards").glob("*.json"):
        cells = set()
        panels = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            place = panel["gridPos"]
            columns = range(place["x"], place["x"] + place["w"])
            own = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
            assert max(columns) < 24
            assert not own & cells
            cells |= own


def test_queries_are_promql(tmp_path):
    rules = [{"record": "x:y", "expr": filled(query)} for _, query in queries()]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", file)


def filled(query):
    return query.replace("$__rate_interval", "1m")


def test_the_chart_carries_rules_and_dashboards():
    manifests = rendered(*setting(["monitoring.operator=true"]))
    assert named(manifests, "PrometheusRule", "snn-fusion")["spec"] == RULES
    data = named(manifests, "ConfigMap", "snn-fusion-dashboards")["data"]
    for path in (MONITORING / "dashboards").glob("*.json"):
        assert json.loads(data[path.name]) == json.loads(path.read_text())
