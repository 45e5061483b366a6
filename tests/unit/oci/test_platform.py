import pytest

from bennu.errors import Invalid
from bennu.oci.platform import Platform, fit, parse_platform, platform_of_machine

HOST = Platform("amd64", "linux")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("Linux/ARM64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"), ("linux/armhf", "linux/arm/v7"), ("linux/arm/6", "linux/arm/v6"),
        ("arm64", "linux/arm64"),
        ("aarch64", "linux/arm64"), ("linux", "linux/amd64"), ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
    ],
)  # fmt: skip
def test_normal_forms(text, normal):
    assert str(parse_platform(text, HOST)) == normal


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "linux/a b", "/amd64"])
def test_malformed_platforms(text):
    with pytest.raises(Invalid):
        parse_platform(text, HOST)


def test_machines_and_fits():
    assert str(platform_of_machine("armv7l")) == "linux/arm/v7"
    assert fit(HOST, platform_of_machine("x86_64")) == 0
    assert fit(HOST, Platform("amd64", "linux", variant="v3")) is None
    assert fit(Platform("amd64", "linux", variant="v3"), HOST) == 2
    assert fit(HOST, Platform("arm64", "linux")) is None
    assert fit(HOST, Platform("amd64", "windows")) is None
