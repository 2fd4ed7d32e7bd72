"""The veth pair between host and node, and the routes over it.

Nothing of the host's own is changed: forwarding is switched on inside the node only, there are no firewall
rules outside, and the routes go when the pair goes. The price: pods reach this host and each other, not the
internet. Everything that the tests need runs on the host, and a test that can't call out is a better test.
"""

import json
import subprocess

from tests.cluster.addresses import AddressPlan
from tests.cluster.sandbox import Sandbox
from tests.cluster.waiting import wait_until


def up(plan: AddressPlan, sandbox: Sandbox) -> None:
    """Make the pair, unless it is there, and set both ends up."""
    if not exists(plan):
        _ip("link", "add", plan.link, "type", "veth", "peer", "name", "eth0", "netns", str(sandbox.init_pid))
    prefix = plan.node_link.prefixlen
    _ip("address", "replace", f"{plan.host}/{prefix}", "dev", plan.link)
    _ip("link", "set", plan.link, "up")
    sandbox.run("ip", "link", "set", "lo", "up")
    sandbox.run("ip", "address", "replace", f"{plan.node}/{prefix}", "dev", "eth0")
    sandbox.run("ip", "link", "set", "eth0", "up")
    sandbox.run("ip", "route", "replace", "default", "via", plan.host)
    sandbox.run("/bin/sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    for network in (plan.pods, plan.services):
        _ip("route", "replace", str(network), "via", plan.node)


def down(plan: AddressPlan) -> None:
    """Remove the pair; the kernel does it too when the node's namespace ends, but a moment later."""
    if exists(plan):
        try:
            _ip("link", "delete", plan.link)
        except RuntimeError:
            # The kernel was faster.
            wait_until(lambda: not exists(plan), what=f"{plan.link} to go", seconds=10)


def exists(plan: AddressPlan) -> bool:
    """Whether the host's end is there."""
    listed = subprocess.run(["ip", "-json", "link", "show"], capture_output=True, text=True, check=True)
    return any(link.get("ifname") == plan.link for link in json.loads(listed.stdout))


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
