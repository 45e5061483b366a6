"""A virtual machine under qemu: power, monitor, and the line to what obeys in it (``obey``).

One machine is one qemu process; cutting its power is SIGKILL to qemu, or the reset button, and what its kernel has not
written by then is lost. The disk is an overlay over an image that is never written. Nothing is left but ``directory``.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = "qemu-system-x86_64"
GOES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
MEMORY_MIB = 1536
CONNECT_SECONDS = 20.0
TAIL_LINES = 40
HOST_CPU = "host,arch-capabilities=off"
"""A hypervisor below this one may show that register and refuse it to be set."""


class Broken(Exception):
    """Something in the guest was not as it should be. The message says what, and gives the last lines."""


@dataclass(frozen=True)
class Disk:
    """What a machine boots: a root file system as a raw image, and the kernel and initial ramdisk that are in it."""

    image: Path
    kernel: Path
    initrd: Path


@dataclass
class Machine:
    """One machine. ``seed`` is a second disk that the guest only reads. ``patience`` stretches every deadline."""

    disk: Disk
    seed: Path
    directory: Path
    has_kvm: bool
    patience: float = 1.0
    boots: int = 0
    _child: subprocess.Popen[bytes] | None = None
    _line: socket.socket | None = None
    _number: int = 0
    _answers: queue.Queue[dict[str, object]] = field(default_factory=queue.Queue)
    _boots: queue.Queue[str] = field(default_factory=queue.Queue)
    _events: queue.Queue[str] = field(default_factory=queue.Queue)

    @property
    def overlay(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    # power

    def start(self) -> None:
        """Switch it on and wait until it obeys."""
        self._make_overlay()
        self._launch()
        self._line = self._connect("obey.sock")
        threading.Thread(target=self._listen, args=(self._line,), daemon=True).start()
        self.await_boot()

    def _make_overlay(self) -> None:
        if not self.overlay.exists():
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.disk.image, self.overlay],
                check=True,
            )

    def says_something(self, seconds: float) -> bool:
        """Switch it on only to see whether its kernel gets as far as to talk; it is off afterwards."""
        self._make_overlay()
        self._launch("")
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and self._child is not None and self._child.poll() is None:
                if b"Linux version" in self.console.read_bytes():
                    return True
                time.sleep(0.1)
            return False
        finally:
            self.cut_power()

    def _launch(self, how: str = "quiet") -> None:
        for name in ("obey.sock", "monitor.sock"):
            (self.directory / name).unlink(missing_ok=True)
        self.console.touch()
        with open(self.directory / "qemu.log", "ab") as log:
            self._child = subprocess.Popen(self._argv(how), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _argv(self, how: str) -> list[str]:
        accelerate = ["-accel", "kvm", "-cpu", HOST_CPU] if self.has_kvm else ["-accel", "tcg", "-cpu", "max"]
        return [
            *GOES_WITH_US, PROGRAM, "-machine", "q35", *accelerate, "-smp", "2", "-m", str(MEMORY_MIB),
            "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
            "-kernel", str(self.disk.kernel), "-initrd", str(self.disk.initrd),
            "-append", f"root=/dev/vda rw console=ttyS0 panic=1 systemd.unified_cgroup_hierarchy=1 {how}",
            "-drive", f"file={self.overlay},if=none,id=root,format=qcow2,cache=writeback",
            "-device", "virtio-blk-pci,drive=root",
            "-drive", f"file={self.seed},if=none,id=seed,format=raw,readonly=on",
            "-device", "virtio-blk-pci,drive=seed",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=obey,path={self.directory}/obey.sock,server=on,wait=off",
            "-device", "virtserialport,chardev=obey,name=bennu.obey",
            "-qmp", f"unix:{self.directory}/monitor.sock,server=on,wait=off",
            "-serial", f"file:{self.console}",
        ]  # fmt: skip

    def cut_power(self) -> None:
        """Kill qemu: what the guest has not written to its disk is lost."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def reset(self) -> None:
        """Press the reset button, and wait until it obeys again."""
        with self._connect("monitor.sock") as monitor, monitor.makefile("rwb") as stream:
            for command in ("qmp_capabilities", "system_reset"):
                stream.write(json.dumps({"execute": command}).encode() + b"\n")
                stream.flush()
                while "return" not in (answer := json.loads(stream.readline())):
                    if "error" in answer:
                        raise Broken(f"the monitor refuses {command}: {answer}")
        self.await_boot()

    def reboot(self) -> None:
        """Shut down in order and come up again."""
        self.begin("systemctl reboot")  # it may be over before it can be answered
        self.await_boot(180)

    def await_boot(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds * self.patience
        while True:
            try:
                self._boots.get(timeout=1)
                break
            except queue.Empty:
                if self._child is None or self._child.poll() is not None:
                    raise Broken(f"qemu has ended\n{self._said()}") from None
                if time.monotonic() > deadline:
                    waited = f"within {seconds * self.patience:g} s"
                    raise Broken(f"the machine does not come up {waited}\n{self.tail()}") from None
        self.boots += 1
        for waiting in (self._answers, self._events):
            with suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
        self.run("systemctl start mnt.mount")  # it obeys before every disk is there

    # the line

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + CONNECT_SECONDS
        line = socket.socket(socket.AF_UNIX)
        while True:
            try:
                line.connect(os.fspath(self.directory / name))
                return line
            except OSError:
                if time.monotonic() > deadline or (self._child is not None and self._child.poll() is not None):
                    line.close()
                    raise Broken(f"qemu does not come up\n{self._said()}") from None
                time.sleep(0.05)

    def _said(self) -> str:
        return _indented((self.directory / "qemu.log").read_text(errors="replace"))

    def _listen(self, line: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            while chunk := line.recv(65536):
                *whole, data = (data + chunk).split(b"\n")
                for each in whole:
                    self._take(each)

    def _take(self, line: bytes) -> None:
        # what was on its way when the power went may be cut short
        with suppress(json.JSONDecodeError):
            message = json.loads(line[line.find(b"{") :])
            if "boot" in message:
                self._boots.put(message["boot"])
            elif "event" in message:
                self._events.put(message["event"])
            else:
                self._answers.put(message)

    def begin(self, script: str, seconds: float = 60) -> int:
        """Let a shell script begin; its number."""
        assert self._line is not None
        self._number += 1
        request = {"n": self._number, "script": script, "seconds": seconds * self.patience}
        self._line.sendall(json.dumps(request).encode() + b"\n")
        return self._number

    def try_run(self, script: str, seconds: float = 60) -> tuple[int, str, str]:
        """Run a shell script to its end: status, standard output, standard error."""
        number = self.begin(script, seconds)
        deadline = time.monotonic() + seconds * self.patience + 10
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Broken(f"no answer within {seconds * self.patience:g} s to\n{script}\n{self.tail()}") from None
            if answer["n"] == number:
                return int(str(answer["status"])), str(answer["output"]), str(answer["errors"])

    def run(self, script: str, seconds: float = 60, status: int = 0) -> str:
        """The standard output of a script that has to end with ``status``. ``Broken`` with all it wrote otherwise."""
        got, output, errors = self.try_run(script, seconds)
        if got != status:
            raise Broken(f"ended with {got} instead of {status}:\n  {script.strip()}\n{_indented(output + errors)}")
        return output

    def events(self, seconds: float) -> Iterator[str]:
        """What programs of the guest send, as it comes, until nothing has come for so long."""
        with suppress(queue.Empty):
            while True:
                yield self._events.get(timeout=seconds * self.patience)

    def tail(self) -> str:
        """The console's last lines."""
        with suppress(OSError):
            lines = self.console.read_text(errors="replace").splitlines()
            return _indented("\n".join(lines[-TAIL_LINES:]))
        return ""


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.strip().splitlines()[-TAIL_LINES:])


def kvm_opens(device: str = "/dev/kvm") -> bool:
    """Whether this process can use the processor's virtualization."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
