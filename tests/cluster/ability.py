"""What this machine can do: the reason why it can't, or None."""

import os
import shutil
import sys

from tests.cluster import build, kind, packages
from tests.cluster.cluster import KUBECONFIG_VARIABLE


def why_no_control_plane() -> str | None:
    """The reason why a control plane can't be had on this machine; None when it can."""
    if sys.platform != "linux":
        return "a control plane needs Linux"
    if shutil.which("go") is None and not all(p.cached for p in (build.KUBERNETES, build.ETCD)):
        return "a control plane needs Go in PATH, to build Kubernetes once"
    return None


def why_no_cluster() -> str | None:
    """The reason why no whole cluster can be had on this machine; None when it can."""
    if os.environ.get(KUBECONFIG_VARIABLE) or kind.available():
        return None
    if reason := why_no_control_plane():
        return reason
    if os.geteuid() != 0:
        return f"a native cluster needs root (or name a cluster in {KUBECONFIG_VARIABLE})"
    wanted = packages.missing({**packages.NODE, **packages.IMAGES})
    if wanted and shutil.which("apt-get") is None:
        return f"a native cluster needs {', '.join(wanted)}, and there is no apt-get to install them"
    return None
