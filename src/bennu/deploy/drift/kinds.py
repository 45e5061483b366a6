"""The kinds of drift: what each is called, what it is about, and what mends it. Pure; a table and nothing else.

An engine's survey has facts by these names (``engine.survey``); ``docs/drift.md`` says the same for people, and a test
holds the two together.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Mend = Literal["replace", "around", "remove", "rebuild", "apply", "pull", "reprovision", "agent", "accept", "restore"]


class Kind(NamedTuple):
    """``noun`` is for sentences; ``about`` groups them where there is no subject of its own. ``is_only``: a thing has
    one of it, so its name says nothing more.
    """

    noun: str
    about: str
    mend: Mend
    is_only: bool = False


KINDS: Final[dict[str, Kind]] = {
    # who is there
    "replica": Kind("replica", "", "replace"),
    "state": Kind("state", "", "replace", is_only=True),
    "container": Kind("container", "containers", "remove"),
    "active": Kind("active set", "", "apply", is_only=True),
    "age": Kind("age", "", "reprovision", is_only=True),
    # how it was made
    "configuration": Kind("recorded option", "", "replace"),
    "image": Kind("image", "", "replace", is_only=True),
    "start": Kind("first process", "", "replace", is_only=True),
    "monitor": Kind("monitor", "", "replace", is_only=True),
    # its processes
    "environment": Kind("environment variable", "", "replace"),
    "capability": Kind("capability", "", "replace"),
    "privileges": Kind("no new privileges", "", "replace", is_only=True),
    "seccomp": Kind("system call filter", "", "replace", is_only=True),
    "user": Kind("user of the first process,", "", "replace"),
    "oom": Kind("oom_score_adj", "", "replace", is_only=True),
    "rlimit": Kind("resource limit", "", "replace"),
    "limit": Kind("limit of the control group,", "", "replace"),
    "control-group": Kind("process outside its control group,", "", "replace"),
    "process": Kind("process", "", "replace"),
    "guest": Kind("process from outside,", "", "replace"),
    # its files
    "root": Kind("root file system", "", "replace", is_only=True),
    "mount": Kind("mount", "", "replace"),
    "source": Kind("source of the mount", "", "replace"),
    "file": Kind("file in the writable layer,", "", "replace"),
    "program": Kind("program or removal in the writable root,", "", "replace"),
    "scratch": Kind("program in scratch space,", "", "replace"),
    "scratch-owner": Kind("somebody else's file in scratch space,", "", "replace"),
    "device": Kind("device", "", "replace"),
    "etc": Kind("content of", "", "replace"),
    # its network
    "hostname": Kind("host name", "", "replace", is_only=True),
    "interface": Kind("network interface", "", "replace"),
    "address": Kind("network address", "", "replace"),
    "route": Kind("route", "", "replace"),
    "firewall": Kind("firewall rule", "", "replace"),
    "plug": Kind("end of its link,", "", "replace"),
    "sysctl": Kind("kernel setting", "", "replace"),
    # around it
    "bridge": Kind("bridge", "network", "around"),
    "bridge-port": Kind("port of the bridge,", "network", "around"),
    "stable-address": Kind("address of the bridge,", "network", "around"),
    "nftables": Kind("rule in", "network", "around"),
    "forwarding": Kind("kernel setting", "network", "around"),
    "volume": Kind("part of the volume,", "", "restore"),
    # the switch
    "switch-process": Kind("process of the switch,", "switch", "around"),
    "switch-program": Kind("program of the switch,", "switch", "around"),
    "switch-config": Kind("configuration of the switch,", "switch", "around"),
    "switch-map": Kind("entry of the switch's map,", "switch", "around"),
    "switch-server": Kind("server of the switch,", "switch", "around"),
    "switch-frontend": Kind("frontend of the switch,", "switch", "around"),
    "switch-active": Kind("active set at the switch, of", "switch", "around"),
    "published": Kind("published port", "switch", "around"),
    "agent": Kind("agent", "agent", "agent", is_only=True),
    # what it is made from
    "layer": Kind("file of the image", "", "rebuild"),
    "blob": Kind("blob,", "", "rebuild"),
    "tag": Kind("meaning of the name", "images", "apply"),
    "upstream": Kind("meaning in its registry of the name", "images", "pull"),
    # the host
    "host-kernel": Kind("kernel", "host", "accept"),
    "host-package": Kind("package", "host", "accept"),
    "host-sysctl": Kind("kernel setting", "host", "accept"),
    "host-program": Kind("program", "host", "accept"),
    "host-zone": Kind("setting", "host", "accept"),
}
