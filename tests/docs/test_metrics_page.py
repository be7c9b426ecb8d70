"""The page of metrics is the code's: every name, kind and label."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from api.memory import MemoryCollector
from api.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"
ROW = re.compile(r"^\| `(snn_fusion_\w+)` \| (\w+) \| ([\w, ]*)\| ", re.MULTILINE)


def in_code():
    metrics = Metrics(CollectorRegistry())
    found = [*vars(metrics).values(), *metrics.quality_gauges.values()]
    for one in found:
        if isinstance(one, MetricWrapperBase):
            (family,) = one.collect()
            suffix = "_total" if family.type == "counter" else ""
            yield family.name + suffix, family.type, ", ".join(one._labelnames)
    for family in MemoryCollector().collect():
        yield family.name, family.type, ""


def test_the_page_of_metrics_names_every_one():
    told = [(name, kind, labels.strip()) for name, kind, labels in ROW.findall(PAGE.read_text())]
    assert sorted(told) == sorted(in_code())
