"""libseccomp by ctypes: an OCI ``linux.seccomp`` section as the BPF program that the kernel takes.

crun compiles the profile anew for every container, which costs several times what starting the container does; a
program that was compiled once serves all containers with the same profile. Source: seccomp_init(3),
seccomp_rule_add(3), seccomp_export_bpf(3) and the library's header for the numbers.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

LIBRARY: Final = "libseccomp.so.2"

_ACTIONS: Final = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS: Final = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_UNKNOWN_SYSCALL: Final = -1


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def _library() -> Any:
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    return library


def compile_filter(profile: Mapping[str, Any]) -> bytes | None:
    """The filter's program (``struct sock_filter`` after another), or None where it cannot be compiled here.

    That is the case without the library, and for actions or operators that this module does not know; the OCI runtime
    then compiles the profile itself.
    """
    try:
        library = _library()
        default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    except (OSError, KeyError):
        return None
    if not context.value:
        return None
    try:
        _fill(library, context, profile, default)
        return _exported(library, context)
    except (OSError, KeyError):
        return None
    finally:
        library.seccomp_release(context)


def _action(name: str, errno_return: int | None) -> int:
    base = _ACTIONS[name]
    if name != "SCMP_ACT_ERRNO":
        return base
    return base | (errno.EPERM if errno_return is None else errno_return)


def _fill(library: Any, context: ctypes.c_void_p, profile: Mapping[str, Any], default: int) -> None:
    for name in profile.get("architectures", ()):
        short = name.removeprefix("SCMP_ARCH_").lower()
        token = library.seccomp_arch_resolve_name(short.encode())
        if not token:
            raise KeyError(name)
        result = library.seccomp_arch_add(context, ctypes.c_uint32(token))
        if result < 0 and result != -errno.EEXIST:
            raise OSError(-result, os.strerror(-result), name)
    for rule in profile.get("syscalls", ()):
        action = _action(rule["action"], rule.get("errnoRet"))
        if action == default:
            continue
        for comparisons in _alternatives(rule.get("args", ())):
            for name in rule["names"]:
                _add(library, context, action, name, comparisons)


def _alternatives(args: Sequence[Mapping[str, Any]]) -> list[list[_Comparison]]:
    """Conditions that hold together; several on one argument are alternatives instead, as in crun and runc."""
    made = [
        _Comparison(arg["index"], _OPERATORS[arg["op"]], arg.get("value", 0), arg.get("valueTwo", 0)) for arg in args
    ]
    if len({each.arg for each in made}) < len(made):
        return [[each] for each in made]
    return [made]


def _add(library: Any, context: ctypes.c_void_p, action: int, name: str, comparisons: list[_Comparison]) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN_SYSCALL:  # newer than the library: the default action holds for it
        return
    array = (_Comparison * max(1, len(comparisons)))(*comparisons)
    result = library.seccomp_rule_add_array(
        context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(comparisons)), array
    )
    if result < 0 and result != -errno.EDOM:  # EDOM: this architecture does not have it
        raise OSError(-result, os.strerror(-result), name)


def _exported(library: Any, context: ctypes.c_void_p) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(fd, "rb") as stream:
        result = library.seccomp_export_bpf(context, ctypes.c_int(fd))
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        stream.seek(0)
        return stream.read()
