"""Small releases, and observations of them, for the tests of what decides about fleets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bennu.compose.extension import XBennu
from bennu.compose.model import DependsOn, Deploy, Healthcheck, Mount, Port, Restart, Service, Volume
from bennu.deploy.release import Release, ReleaseService
from bennu.digest import Digest, digest_of
from bennu.engine.sets import Observation, ReplicaObservation, ReplicaState, SetObservation, SetSpec

PROJECT = "shop"


def image(version: str) -> Digest:
    return digest_of(version.encode())


def service(
    name: str,
    *,
    replicas: int = 1,
    needs: Mapping[str, str] | None = None,
    writes: bool = False,
    environment: Mapping[str, str] | None = None,
    restart: Restart | None = None,
    proof: XBennu | None = None,
) -> Service:
    return Service(
        name=name,
        image=name,
        ports=(Port(target=80, published=8080, app_protocol="http"),) if name == "web" else (),
        deploy=Deploy(replicas=replicas),
        mounts=(Mount(type="volume", source="data", target="/data"),) if writes else (),
        depends_on={other: DependsOn(condition=condition) for other, condition in (needs or {}).items()},  # type: ignore[arg-type]
        environment=dict(environment or {}),
        healthcheck=Healthcheck(test=("CMD", "is-ready")),
        restart=restart,
        x_bennu=proof or XBennu(),
    )


def release(
    *services: Service, version: str = "1", versions: Mapping[str, str] | None = None, **fields: int
) -> Release:
    """A release in which each service runs ``version``, except those that ``versions`` names."""
    entries = {
        each.name: ReleaseService(
            image=image(f"{each.name} {(versions or {}).get(each.name, version)}"), image_name=each.name, service=each
        )
        for each in services
    }
    return Release(project=PROJECT, services=entries, volumes={"data": Volume(name="shop_data")}, **fields)


def shop(
    version: str = "1", *, db: str = "1", replicas: int = 2, proof: XBennu | None = None, **fields: int
) -> Release:
    """``web`` on a ``db`` that writes a volume."""
    web = service("web", replicas=replicas, needs={"db": "service_healthy"}, proof=proof)
    return release(web, service("db", writes=True), versions={"web": version, "db": db}, **fields)


def seen(
    spec: SetSpec, *, state: ReplicaState = "running", released: float | None = None, there: Iterable[int] | None = None
) -> SetObservation:
    """A set whose replicas (all of them, unless ``there`` says which) are in one state."""
    return SetObservation(
        spec=spec,
        released=released,
        replicas=tuple(
            ReplicaObservation(
                service=spec.service.name,
                set=spec.id,
                index=index,
                container=f"{spec.id}.{index}",
                state=state,
                health="healthy",
            )
            for index in (there if there is not None else range(1, spec.replicas + 1))
        ),
    )


def observation(*active: SetObservation, kept: Iterable[SetObservation] = ()) -> Observation:
    return Observation(
        project=PROJECT,
        sets={found.id: found for found in (*active, *kept)},
        active={found.spec.service.name: found.id for found in active},
    )
