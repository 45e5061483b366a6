from bennu.build.apt_sources import Source, mirrors, parse_os_release, parse_sources

DEB822 = """\
Types: deb
# a snapshot
URIs: http://deb.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://deb.example/debian-security/
Suites: bookworm-security
Components: main
 contrib

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://node.example/node_20.x
Suites: nodistro
Components: main
"""
LINES = """\
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://one.example/debian bookworm main contrib # the first
deb-src http://one.example/debian bookworm main
deb http://docker.example/linux/debian bookworm stable
deb http://sql.example/apt bookworm-pgdg main
deb http://one.example/debian bookworm-backports main
deb http://broken.example/debian
"""


def test_both_forms_are_read():
    assert list(parse_sources([DEB822])) == [
        Source("http://deb.example/debian", "bookworm", ("main",)),
        Source("http://deb.example/debian", "bookworm-updates", ("main",)),
        Source("http://deb.example/debian-security/", "bookworm-security", ("main", "contrib")),
        Source("https://node.example/node_20.x", "nodistro", ("main",)),
    ]
    first = next(parse_sources([LINES, ""]))
    assert first.line == "deb http://one.example/debian bookworm main contrib"
    assert len(list(parse_sources([LINES]))) == 4


def test_only_the_distributions_own_archives_count_and_follow_the_suite():
    found = mirrors(parse_sources([DEB822, LINES]), "debian", "bookworm", "trixie")
    assert [source.line for source in found] == [
        "deb http://deb.example/debian trixie main",
        "deb http://deb.example/debian trixie-updates main",
        "deb http://deb.example/debian-security/ trixie-security main contrib",
        "deb http://one.example/debian trixie main contrib",
    ]


def test_a_host_without_the_main_archive_gives_nothing():
    only_updates = [Source("http://deb.example/debian", "bookworm-updates", ("main",))]
    assert mirrors(only_updates, "debian", "bookworm", "bookworm") == []
    assert mirrors(parse_sources([DEB822]), "ubuntu", "noble", "noble") == []


def test_os_release():
    assert parse_os_release('ID=debian\nVERSION_CODENAME="bookworm"\n# x=y\n\n') == {
        "ID": "debian", "VERSION_CODENAME": "bookworm",
    }  # fmt: skip
