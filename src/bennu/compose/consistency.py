"""What must hold between the parts of a project: dependencies, volumes, published ports, names.

Everything here looks at services that were read already and reports at the place of the key that is at odds.
"""

from __future__ import annotations

from collections.abc import Mapping

from bennu.compose.extension import XBennuProject
from bennu.compose.fields import Field
from bennu.compose.model import Service, Volume
from bennu.compose.problems import did_you_mean


def check(
    services: Field,
    active: Mapping[str, Service],
    inactive: Mapping[str, Service],
    declared: Mapping[str, Mapping[str, object]],
) -> None:
    """Report all that does not fit together among the active services, and in each service by itself. ``declared``:
    what the file has under ``volumes``, ``networks``, ``configs`` and ``secrets``.
    """
    for name, service in {**active, **inactive}.items():
        field = services.raw(name)
        assert field is not None
        _check_service(field, service)
        _check_volumes(field, service, declared["volumes"])
        _check_parts(field, service, declared)
    for name in active:
        field = services.raw(name)
        assert field is not None
        _check_dependencies(field, active[name], active, inactive)
    _check_cycles(services, active)
    _check_ports(services, active)
    _check_container_names(services, active)


def check_snapshots(field: Field | None, settings: XBennuProject, volumes: Mapping[str, Volume]) -> None:
    """Snapshots can only be taken of volumes that the file declares and bennu makes."""
    for name in settings.snapshot:
        if field is None:
            return
        if name not in volumes:
            field.fail(f"volume {name!r} is not declared under 'volumes'", did_you_mean(name, volumes))
        elif volumes[name].driver_opts:
            field.fail(f"volume {name!r} has 'driver_opts': what it is mounted from cannot be snapshotted")


def _check_service(field: Field, service: Service) -> None:
    # What could not be extended is reported; what it would have brought is not missing.
    provided = "provider" in service.other or field.get("extends") is not None
    if service.image is None and service.build is None and not provided:
        field.fail("has neither 'image' nor 'build'")
    container_name = field.get("container_name")
    if container_name is not None and service.replicas > 1:
        container_name.fail(
            f"one name cannot do for {service.replicas} replicas", "leave it out; replicas are named by service"
        )


def _check_volumes(field: Field, service: Service, volumes: Mapping[str, object]) -> None:
    mounts = field.get("volumes")
    for mount in service.mounts:
        if mounts is None or mount.type != "volume" or mount.source is None or mount.source in volumes:
            continue
        place = next((item for item in mounts.items() if _names(item, mount.source)), mounts)
        hint = did_you_mean(mount.source, volumes) or f"a host path begins with ./ or /: ./{mount.source}"
        place.fail(f"volume {mount.source!r} is not declared under 'volumes'", hint)


def _check_parts(field: Field, service: Service, declared: Mapping[str, Mapping[str, object]]) -> None:
    """Networks, configs and secrets that a service names are declared."""
    uses = {
        "networks": list(service.networks),
        "configs": [mount.source for mount in service.configs],
        "secrets": [mount.source for mount in service.secrets],
    }
    for section, names in uses.items():
        given = field.get(section)
        for name in names if given else ():
            if name not in declared[section]:
                assert given is not None
                place = given.raw(name) if given.is_mapping else _item(given, name)
                what = section.removesuffix("s")
                (place or given).problems.add(
                    f"{given.path}: {what} {name!r} is not declared under {section!r}",
                    place.key_place if place else given.place,
                    did_you_mean(name, declared[section]),
                )
    if service.networks and field.get("network_mode") is not None:
        field.fail("has both 'networks' and 'network_mode'", "leave one of them out")


def _item(field: Field, source: str) -> Field | None:
    return next((item for item in field.items() if _names(item, source)), None)


def _names(item: Field, source: str) -> bool:
    """Does this item of ``volumes`` mount that volume?"""
    found = item.get("source") if item.is_mapping else item
    text = found.text() if found else None
    return text is not None and text.partition(":")[0] == source


def _dependency(field: Field, name: str) -> Field:
    """Where a service says that it depends on ``name``."""
    depends, links = field.get("depends_on"), field.get("links")
    if depends is not None and depends.is_mapping and depends.raw(name) is not None:
        return depends.raw(name) or depends
    lists = [each for each in (depends, links) if each is not None and each.is_list]
    items = (item for each in lists for item in each.items() if (item.text() or "").partition(":")[0] == name)
    return next(items, depends or links or field)


def _check_dependencies(
    field: Field, service: Service, active: Mapping[str, Service], inactive: Mapping[str, Service]
) -> None:
    for name, dependency in service.depends_on.items():
        place = _dependency(field, name)
        if name in active:
            check = active[name].healthcheck
            if dependency.condition == "service_healthy" and check is not None and check.disabled:
                place.fail(f"waits until {name!r} is healthy, and its health check is turned off")
        elif name in inactive and dependency.required:
            profiles = ", ".join(inactive[name].profiles)
            place.fail(f"service {name!r} is in no chosen profile", f"choose one of its profiles: {profiles}")
        elif name not in inactive:
            known = [other for other in {**active, **inactive} if other != service.name]
            place.fail(f"service {name!r} is not known", did_you_mean(name, known))


def _check_cycles(services: Field, active: Mapping[str, Service]) -> None:
    """Report each cycle of dependencies once, at its first service in the file."""
    done: set[str] = set()
    for start in active:
        trail: list[str] = []
        _walk(services, active, start, trail, done)


def _walk(services: Field, active: Mapping[str, Service], name: str, trail: list[str], done: set[str]) -> None:
    if name in trail:
        cycle = [*trail[trail.index(name) :], name]
        field = services.raw(cycle[0])
        assert field is not None
        _dependency(field, cycle[1]).fail(f"services depend on each other: {' -> '.join(cycle)}")
        return
    if name in done or name not in active:
        return
    trail.append(name)
    for dependency in active[name].depends_on:
        _walk(services, active, dependency, trail, done)
    trail.pop()
    done.add(name)


def _check_ports(services: Field, active: Mapping[str, Service]) -> None:
    """A host port can be published by one service only; no address means every address."""
    taken: dict[tuple[int, str], list[tuple[str | None, str]]] = {}
    for name, service in active.items():
        for port in service.ports:
            if port.published is None:
                continue
            holders = taken.setdefault((port.published, port.protocol), [])
            for address, holder in holders:
                if holder != name and (address == port.host_ip or None in (address, port.host_ip)):
                    field = services.raw(name)
                    ports = field.get("ports") if field else None
                    assert ports is not None
                    message = f"host port {port.published}/{port.protocol} is published by {holder!r} already"
                    ports.problems.stated(f"{ports.path}: {message}", ports.key_place)
                    break
            holders.append((port.host_ip, name))


def _check_container_names(services: Field, active: Mapping[str, Service]) -> None:
    holders: dict[str, str] = {}
    for name, service in active.items():
        if service.container_name is None:
            continue
        holder = holders.setdefault(service.container_name, name)
        field = services.raw(name)
        place = field.get("container_name") if field else None
        if holder != name and place is not None:
            place.fail(f"name {service.container_name!r} is taken by {holder!r}")
