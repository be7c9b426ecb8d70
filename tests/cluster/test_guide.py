"""The guide's looks at a cluster, as they stand there."""

import re

import pytest
from support.chart import ROOT

BLOCKS = re.findall(
    r"^```sh\n(.*?)^```$", (ROOT / "docs/deploy.md").read_text(), re.DOTALL | re.MULTILINE
)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.startswith("kubectl")]
LOOKS = [line for line in LINES if "  # " not in line]


@pytest.mark.parametrize("line", LOOKS)
def test_it_works(cluster, line):
    text = line.replace("-n snn-fusion", f"-n {cluster.namespace}")
    done = cluster.run("bash", "-euo", "pipefail", "-c", text)
    assert done.stdout
