"""The keys that surround a replica's processes: read, refused where they are wrong, printed as they were."""

from __future__ import annotations

import pytest

from bennu.compose.confinement import Confinement
from bennu.compose.render import compose_document
from tests.unit.compose.support import errors, project, service

KEYS = """
cpu_shares: 512
cpuset: 0-2,5
dns: [1.1.1.1, "::1"]
dns_opt: [use-vc]
dns_search: example.com
group_add: [mail, 12]
mem_reservation: 64m
memswap_limit: 1g
oom_score_adj: -500
sysctls: [net.core.somaxconn=1024, kernel.shmmax=1]
"""


def test_all_of_them():
    found = service(KEYS).confinement
    assert found == Confinement(
        cpu_shares=512,
        cpuset="0-2,5",
        dns=("1.1.1.1", "::1"),
        dns_opt=("use-vc",),
        dns_search=("example.com",),
        group_add=("mail", "12"),
        mem_reservation_bytes=64 << 20,
        memswap_bytes=1 << 30,
        oom_score_adj=-500,
        sysctls={"net.core.somaxconn": "1024", "kernel.shmmax": "1"},
    )
    text = "services:\n  web:\n    image: x\n" + "".join(f"    {line}\n" for line in KEYS.strip().splitlines())
    document = compose_document(project(text))
    assert document["services"]["web"]["mem_reservation"] == str(64 << 20)
    from bennu.compose.render import yaml_text

    assert project(yaml_text(document)).services["web"].confinement == found


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("cpuset: all", "'all' is no set of processors"),
        ("dns: [one.one]", "'one.one' is no address of a name server"),
        ("oom_score_adj: 2000", "2000 is not between -1000 and 1000"),
        ("sysctls: {vm.swappiness: 1}", "'vm.swappiness' is the whole host's"),
        ("mem_reservation: lots", "'lots' is not a size"),
    ],
)
def test_what_is_wrong(keys, said):
    assert said in errors(service, keys)[0].message


def test_what_every_replica_has_may_be_asked_for():
    found = project("services: {web: {image: x, security_opt: ['no-new-privileges:true', 'seccomp:unconfined']}}")
    (unserved,) = found.unserved
    assert "'seccomp:unconfined' is not supported" in unserved.message
    assert project("services: {web: {image: x, security_opt: ['no-new-privileges:true']}}").unserved == ()


def test_links_are_names_and_come_first():
    found = project("services: {web: {image: x, links: ['db:database', 'cache']}, db: {image: y}, cache: {image: z}}")
    web = found.services["web"]
    assert web.links == {"database": "db"}
    assert list(web.depends_on) == ["db", "cache"]
    assert "service 'no' is not known" in errors(service, "links: [no]")[0].message
