import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.errors import Invalid
from bennu.oci.reference import Reference, parse_name, parse_reference

SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("written", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:bookworm", "docker.io/library/debian:bookworm", "debian:bookworm"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"),
        ("docker.io/library/debian", "docker.io/library/debian", "debian"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("Host/app", "Host/app", "Host/app"),
        ("quay.example/a/b/c:t.x-y_z", "quay.example/a/b/c:t.x-y_z", "quay.example/a/b/c:t.x-y_z"),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app"),
        (f"debian@{SHA}", f"docker.io/library/debian@{SHA}", f"debian@{SHA}"),
        (f"h:1/a:t@{SHA}", f"h:1/a:t@{SHA}", f"h:1/a:t@{SHA}"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e"),
    ],
)
def test_reads_as_docker_does(written, full, familiar):
    reference = parse_reference(written)
    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    "written",
    [
        "", ":tag", "Debian", "a/B", "a..b", "a___b", "-a", "a-", "a:", "a:-x", "a:" + "x" * 129, "a@sha256:abc",
        "a@md5:" + "a" * 32, "a//b", "/a", "a/", "a b", "ab" * 32, "x" * 256, "-h.io/a", "h.io:x/a", "a:b:c",
        "a@" + SHA.upper(),
        "ümlaut", "a:t\n", "a\n",
    ],
)  # fmt: skip
def test_refuses_what_docker_refuses(written):
    with pytest.raises(Invalid):
        parse_reference(written)


def test_a_name_gets_the_tag_latest_and_no_digest():
    assert parse_name("debian").name == "docker.io/library/debian:latest"
    with pytest.raises(Invalid, match="digest"):
        parse_name(f"debian@{SHA}")
    assert parse_reference(f"debian@{SHA}").tagged().tag is None


_WORD = st.from_regex(r"[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?", fullmatch=True)


@given(
    st.sampled_from(["docker.io", "localhost", "h.example", "h:5000"]), st.lists(_WORD, min_size=1, max_size=3), _WORD
)
def test_what_is_shown_reads_back_as_the_same(domain, parts, tag):
    path = "/".join(parts)
    reference = parse_reference(str(Reference(domain, path if len(parts) > 1 else f"library/{path}", tag)))
    assert parse_reference(reference.familiar) == reference
    assert parse_reference(str(reference)) == reference
