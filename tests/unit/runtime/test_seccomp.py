import json

import pytest

from bennu.errors import Corrupt, Unavailable
from bennu.host.libseccomp import compile_filter
from bennu.runtime import seccomp

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arm_only"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"name": "old_form", "action": "SCMP_ACT_ALLOW", "args": None},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_NE"}],
        },
    ],
}


def names(converted, action="SCMP_ACT_ALLOW"):
    return [name for rule in converted["syscalls"] if rule["action"] == action for name in rule["names"]]


def test_conditions_are_resolved():
    plain = seccomp.convert(PROFILE, ("CAP_CHOWN",), "x86_64", "6.1.0-9-amd64")
    assert names(plain) == ["read", "new", "old_form", "socket"]
    assert names(plain, "SCMP_ACT_ERRNO") == ["mount"]
    admin = seccomp.convert(PROFILE, ("CAP_SYS_ADMIN",), "x86_64", "4.4.0")
    assert names(admin) == ["read", "mount", "old_form", "socket"]
    assert names(admin, "SCMP_ACT_ERRNO") == []
    arm = seccomp.convert(PROFILE, (), "aarch64", "6.1")
    assert "arm_only" in names(arm)
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64"]
    assert plain["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert plain["defaultErrnoRet"] == 38


def test_it_is_kept_until_something_changes(tmp_path, monkeypatch):
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps(PROFILE))
    monkeypatch.setattr(seccomp, "PROFILES", (tmp_path / "none", profile))
    cache = tmp_path / "cache"
    first = seccomp.load(cache, ("CAP_CHOWN",), "x86_64", "6.1")
    assert seccomp.load(cache, ("CAP_CHOWN",), "x86_64", "6.1") == first
    assert len(list(cache.iterdir())) == 1
    seccomp.load(cache, ("CAP_CHOWN", "CAP_SYS_ADMIN"), "x86_64", "6.1")
    assert len(list(cache.iterdir())) == 2


def test_without_a_profile_or_with_a_broken_one_nothing_runs_unconfined(tmp_path, monkeypatch):
    monkeypatch.setattr(seccomp, "PROFILES", (tmp_path / "none",))
    with pytest.raises(Unavailable) as found:
        seccomp.load(tmp_path, (), "x86_64", "6.1")
    assert "golang-github-containers-common" in found.value.hint
    broken = tmp_path / "broken"
    monkeypatch.setattr(seccomp, "PROFILES", (broken,))
    for text in ("", "[]", "{}", '{"defaultAction": 1, "syscalls": [{}]}'):
        broken.write_text(text)
        with pytest.raises(Corrupt):
            seccomp.load(tmp_path, (), "x86_64", "6.1")


def test_what_cannot_be_compiled_is_left_to_the_runtime():
    assert compile_filter({"defaultAction": "SCMP_ACT_NOSUCH", "syscalls": []}) is None
    program = compile_filter(seccomp.convert(PROFILE, (), "x86_64", "6.1"))
    assert program is None or len(program) % 8 == 0
