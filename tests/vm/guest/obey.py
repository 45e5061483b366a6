"""The one thing that the guest runs for the test: does what the host says on a virtual serial port, answers, forwards.

A request is one line of JSON: ``{"n": 1, "script": "...", "seconds": 60}``; the answer is ``{"n": 1, "status": 0,
"output": "...", "errors": "..."}``. A program of the guest that wants to be noticed sends a datagram to
/run/obey.sock; the host gets ``{"event": "..."}``. The first line of a boot is ``{"boot": its id}``.
Standard library only.
"""

import json
import os
import socket
import subprocess
import threading

PORT = "/dev/virtio-ports/bennu.obey"
EVENTS = "/run/obey.sock"


def main():
    with open(PORT, "r+b", buffering=0) as port:
        serve(port)


def serve(port):
    lock = threading.Lock()

    def tell(message):
        with lock:
            data = json.dumps(message).encode() + b"\n"
            while data:
                data = data[port.write(data) :]

    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    threading.Thread(target=forward, args=(tell,), daemon=True).start()
    tell({"boot": boot})
    for line in lines(port):
        request = json.loads(line)
        threading.Thread(target=obey, args=(request, tell), daemon=True).start()


def lines(port):
    data = b""
    while True:
        chunk = port.read(65536)
        if not chunk:
            return
        *whole, data = (data + chunk).split(b"\n")
        yield from whole


def forward(tell):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(EVENTS)
        while True:
            tell({"event": receiver.recv(4096).decode()})


def obey(request, tell):
    environ = {**os.environ, "HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    child = subprocess.Popen(
        ["/bin/sh", "-c", request["script"]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = child.communicate(timeout=request["seconds"])
        status = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        output, errors = child.communicate()
        status = 124
    text = {"output": output.decode(errors="replace"), "errors": errors.decode(errors="replace")}
    tell({"n": request["n"], "status": status, **text})


if __name__ == "__main__":
    main()
