"""Hold manifests to the schemas of Kubernetes: `validate_manifests.py FILE`, in .venv-k8s.

FILE maps version → list of manifests. Prints one line for each that is wrong or unknown; custom
resources have no schema there and are named in KNOWN.
"""

import json
import sys
from pathlib import Path

from kubernetes_validate import SchemaNotFoundError, ValidationError, validate

KNOWN = {"ServiceMonitor", "PrometheusRule", "NodeFeatureRule"}


def problem(manifest, version):
    try:
        validate(manifest, version, strict=True)
    except ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except SchemaNotFoundError as error:
        return None if manifest["kind"] in KNOWN else error.message
    return None


def main():
    by_version = json.loads(Path(sys.argv[1]).read_text())
    checked = 0
    for version, manifests in by_version.items():
        for manifest in manifests:
            checked += 1
            if (found := problem(manifest, version)) is not None:
                print(f"{version}: {manifest['kind']} {manifest['metadata']['name']}: {found}")
    print(f"{checked} checked")


main()
