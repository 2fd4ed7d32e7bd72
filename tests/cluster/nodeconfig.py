"""The configuration of the node's programs, as pure functions of where things are.

Apart from addresses and paths, each setting here that is not a default has its reason beside it.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.cluster.addresses import AddressPlan
from tests.cluster.certs import KeyPair

Config = Mapping[str, object]
# "localhost" is the registry that no runtime ever asks: an image that is not there is an error at once.
PAUSE_REFERENCE = "localhost/claude-operator-pause:1"


def containerd(*, cni: Path) -> str:
    """The `config.toml` of containerd; its folders are the defaults, private inside the sandbox."""
    return f"""\
version = 2

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_REFERENCE}"
  # Without CAP_SYS_RESOURCE a score below one's own can't be set, and every pod fails with
  # "can't get final child's PID from pipe". With it, this changes nothing that a test would see.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"""


def cni(plan: AddressPlan) -> Config:
    """A point-to-point link per pod, all traffic routed.

    Not a bridge: two pods on one bridge answer each other directly, past the node's address translation, so
    a pod would see the reply to its call of a service come from an unknown address unless br_netfilter is
    loaded.
    """
    return {
        "cniVersion": "0.4.0",
        "name": "node",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(plan.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def kubelet(
    *, plan: AddressPlan, cgroup: str, client_ca: Path, serving: KeyPair, resolv: Path, socket: str
) -> Config:
    """KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.cert),
        "tlsPrivateKeyFile": str(serving.key),
        "containerRuntimeEndpoint": f"unix://{socket}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [plan.dns],
        "resolvConf": str(resolv),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        # Development machines and CI runners still have v1 hierarchies, and swap.
        "failCgroupV1": False,
        "failSwapOn": False,
        # The machine is shared with whatever else runs on it: its full disk or memory is no reason to evict.
        "evictionHard": {},
        "enforceNodeAllocatable": [],
        # Images come from here, not from a registry: one that was collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        # One slow import must not hold back the pod that needs no image at all.
        "serializeImagePulls": False,
    }


def kube_proxy(*, plan: AddressPlan, node: str, kubeconfig: Path) -> Config:
    """KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": str(plan.pods),
        "hostnameOverride": node,
        "nodePortAddresses": ["primary"],
        # Zero leaves the kernel's connection tracking as it is: the setting is the whole machine's.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def corefile(*, plan: AddressPlan, kubeconfig: Path) -> str:
    """CoreDNS: the cluster's names, and a prompt "no such name" for all others, which no pod could reach.

    Two server blocks, because within one the order of plugins is CoreDNS's own and `template` comes first.
    """
    return f"""\
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {plan.node}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
    cache 5
}}

.:53 {{
    bind {plan.node}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def dns_objects(plan: AddressPlan) -> list[Config]:
    """The cluster DNS service, whose one endpoint is the node itself, and what CoreDNS may read."""
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {"clusterIP": plan.dns, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-node",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [plan.node], "conditions": {"ready": True}}],
            "ports": ports,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {
                    "apiGroups": ["", "discovery.k8s.io"],
                    "resources": ["endpointslices", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                }
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:coredns",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
    ]


def storage_objects(*, node: str, volumes: Mapping[str, str]) -> list[Config]:
    """A default storage class, and volumes for it: name to path inside the node.

    Volumes of the kind `local` and made beforehand, because the kubelet gives them to the pod's fsGroup as a
    cloud's disks are; hostPath ones stay root's. Nothing makes more of them: a test needs a handful.
    """
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    only_here = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        ]
    }
    return [
        storage_class,
        *(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": "100Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "standard",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "local": {"path": path},
                    "nodeAffinity": {"required": only_here},
                },
            }
            for name, path in volumes.items()
        ),
    ]
