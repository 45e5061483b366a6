"""The base images of the cases: as Dockerfiles for a builder that records, as configurations for the tests."""

from __future__ import annotations

from bennu.oci.image_config import ContainerConfig, ImageConfig

DOCKERFILES = {
    "checks/plain": "FROM scratch\nCOPY file /file\n",
    "checks/env": "FROM scratch\nCOPY file /file\nENV BASE=1\nWORKDIR /srv\n",
    "checks/shell": 'FROM scratch\nCOPY file /file\nSHELL ["/bin/bash", "-c"]\n',
    "checks/triggers": "FROM scratch\nCOPY file /file\nONBUILD CMD echo\n",
    "checks/arm": "FROM --platform=linux/arm64 scratch\nCOPY file /file\n",
}


def _image(architecture: str = "amd64", **config: object) -> ImageConfig:
    return ImageConfig(architecture=architecture, os="linux", config=ContainerConfig(**config))  # type: ignore[arg-type]


CONFIGURATIONS = {
    "checks/plain": _image(),
    "checks/plain:latest": _image(),
    "checks/env": _image(env=("BASE=1",), working_dir="/srv"),
    "checks/shell": _image(shell=("/bin/bash", "-c")),
    "checks/triggers": _image(on_build=("CMD echo",)),
    "checks/arm": _image("arm64"),
}
