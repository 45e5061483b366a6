"""Several fleet files laid over each other, later ones over earlier ones, key by key.

Source: the Compose Specification, 13-merge.md. Mappings merge, lists are put together, single values are replaced; the
exceptions are in ``_RULES`` by path. What is named within a list (an environment variable, a mount's target, a
published port) is there once afterwards. ``!reset`` removes a key, ``!override`` replaces it whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from bennu.compose.nodes import Entry, Mapping, Node, Scalar, Sequence, null, string, type_name
from bennu.compose.problems import Problems

Path = tuple[str, ...]
Merge = Callable[[Node, Node, Path, Problems], Node]


def merge(base: Node, over: Node, problems: Problems, *, inside: Path = ()) -> Node:
    """``over`` laid over ``base``; what cannot be merged is reported, and ``over`` taken. ``inside``: their path."""
    return _merge(base, over, inside, problems)


def settle(node: Node) -> Node:
    """The node without what ``!reset`` removes and without tags; for the result of all merging."""
    if isinstance(node, Mapping):
        kept = tuple(replace(entry, value=settle(entry.value)) for entry in node if entry.value.tag != "!reset")
        return replace(node, entries=kept, tag=None)
    if isinstance(node, Sequence):
        return replace(node, items=tuple(settle(item) for item in node.items), tag=None)
    return replace(node, tag=None) if node.tag else node


def _merge(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    if over.tag is not None:
        return over
    if isinstance(over, Scalar) and over.is_null:
        return base
    rule = _rule(path)
    if rule is not None:
        return rule(base, over, path, problems)
    return _by_type(base, over, path, problems)


def _by_type(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    if isinstance(base, Scalar) and (isinstance(over, Scalar) or base.is_null):
        return over
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = base
        for entry in over:
            old = merged.index.get(entry.key)
            value = entry.value if old is None else _merge(old.value, entry.value, (*path, entry.key), problems)
            merged = merged.with_value(entry, value)
        return merged
    if isinstance(base, Sequence) and isinstance(over, Sequence):
        return _unique((*base.items, *over.items), over, path)
    what = f"{'.'.join(path)}: is {type_name(over)}, and {type_name(base)} in {base.place}; the two cannot be merged"
    problems.add(what, over.place, "write !override before the value to replace the other")
    return over


def _unique(items: tuple[Node, ...], over: Node, path: Path) -> Sequence:
    """The items, each name once: a later one takes the place of an earlier one of the same name."""
    name = _NAMES.get(path[-1] if path else "")
    kept: dict[object, Node] = {}
    for number, item in enumerate(items):
        kept[number if name is None else name(item)] = item
    return Sequence(tuple(kept.values()), over.place)


def _replace(_base: Node, over: Node, _path: Path, _problems: Problems) -> Node:
    return over


def _as_mapping(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    """For what is a mapping or a list of names: both become mappings with empty values."""
    return _by_type(_names_to_mapping(base), _names_to_mapping(over), path, problems)


def _names_to_mapping(node: Node) -> Node:
    if not isinstance(node, Sequence):
        return node
    texts = {item.text: item for item in node.items if isinstance(item, Scalar)}
    return Mapping(tuple(Entry(text, null(item.place), item.place) for text, item in texts.items()), node.place)


def _as_pairs(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    """For what is a mapping or a list of ``NAME=value``: both become mappings."""
    return _by_type(_pairs_to_mapping(base), _pairs_to_mapping(over), path, problems)


def _pairs_to_mapping(node: Node) -> Node:
    if not isinstance(node, Sequence):
        return node
    entries: dict[str, Entry] = {}
    for item in node.items:
        if not isinstance(item, Scalar):
            return node
        name, equals, value = item.text.partition("=")
        entries[name] = Entry(name, string(value, item.place) if equals else null(item.place), item.place)
    return Mapping(tuple(entries.values()), node.place)


def _as_list(base: Node, over: Node, path: Path, _problems: Problems) -> Node:
    """For what is a list or a single value: both become lists."""
    items = (*_to_items(base), *_to_items(over))
    return _unique(items, over, path)


def _to_items(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Sequence):
        return node.items
    return () if isinstance(node, Scalar) and node.is_null else (node,)


def _hosts(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    """``extra_hosts``: lists of ``name=address`` may name a host twice, so only like forms are put together."""
    if isinstance(base, Sequence) and isinstance(over, Sequence):
        known = {item.text for item in base.items if isinstance(item, Scalar)}
        new = tuple(item for item in over.items if not (isinstance(item, Scalar) and item.text in known))
        return Sequence((*base.items, *new), over.place)
    return _by_type(_pairs_to_mapping(base), _pairs_to_mapping(over), path, problems)


def _build(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    """A build's short form is its context."""
    return _by_type(_build_long(base), _build_long(over), path, problems)


def _build_long(node: Node) -> Node:
    if isinstance(node, Scalar) and not node.is_null:
        return Mapping((Entry("context", node, node.place),), node.place)
    return node


def _ulimit(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    both = isinstance(base, Mapping) and isinstance(over, Mapping)
    return _by_type(base, over, path, problems) if both else over


def _logging(base: Node, over: Node, path: Path, problems: Problems) -> Node:
    """Options of one driver mean nothing to another."""
    drivers = [node.get("driver") if isinstance(node, Mapping) else None for node in (base, over)]
    names = [driver.text for driver in drivers if isinstance(driver, Scalar)]
    return over if len(names) == 2 and names[0] != names[1] else _by_type(base, over, path, problems)


_SERVICE_RULES: Final[dict[Path, Merge]] = {
    ("annotations",): _as_pairs,
    ("build",): _build,
    ("build", "additional_contexts"): _as_pairs,
    ("build", "args"): _as_pairs,
    ("build", "extra_hosts"): _hosts,
    ("build", "labels"): _as_pairs,
    ("dns",): _as_list,
    ("dns_opt",): _as_list,
    ("dns_search",): _as_list,
    ("label_file",): _as_list,
    ("logging",): _logging,
    ("models",): _as_mapping,
    ("sysctls",): _as_pairs,
    ("build", "ulimits", "*"): _ulimit,
    ("command",): _replace,
    ("depends_on",): _as_mapping,
    ("deploy", "labels"): _as_pairs,
    ("entrypoint",): _replace,
    ("env_file",): _as_list,
    ("environment",): _as_pairs,
    ("extra_hosts",): _hosts,
    ("healthcheck", "test"): _replace,
    ("labels",): _as_pairs,
    ("networks",): _as_mapping,
    ("tmpfs",): _as_list,
    ("ulimits", "*"): _ulimit,
}


def _rule(path: Path) -> Merge | None:
    if len(path) == 3 and path[0] in ("volumes", "networks", "configs", "secrets") and path[2] == "labels":
        return _as_pairs
    if len(path) < 3 or path[0] != "services":
        return None
    return _SERVICE_RULES.get(path[2:]) or _SERVICE_RULES.get((*path[2:-1], "*"))


def _text(item: Node) -> object:
    return item.text if isinstance(item, Scalar) else id(item)


def _mount_name(item: Node) -> object:
    """A mount is named by its target."""
    if isinstance(item, Mapping):
        target = item.get("target")
        return target.text.rstrip("/") if isinstance(target, Scalar) else id(item)
    if not isinstance(item, Scalar):
        return id(item)
    parts = item.text.split(":")
    return (parts[0] if len(parts) == 1 else parts[1]).rstrip("/")


def _port_name(item: Node) -> object:
    """A port is named by address, published port, target and protocol; a short form by its text."""
    if not isinstance(item, Mapping):
        return _text(item)
    wanted = {"host_ip": "", "published": "", "target": "", "protocol": "tcp"}
    found = {key: value.text for key in wanted if isinstance(value := item.get(key), Scalar)}
    return tuple({**wanted, **found}.values())


def _tmpfs_name(item: Node) -> object:
    return item.text.partition(":")[0] if isinstance(item, Scalar) else id(item)


def _path_name(item: Node) -> object:
    path = item.get("path") if isinstance(item, Mapping) else item
    return path.text if isinstance(path, Scalar) else id(item)


def _file_name(directory: str) -> Callable[[Node], object]:
    """A config or secret is named by where it stands in a replica."""

    def name(item: Node) -> object:
        if isinstance(item, Mapping):
            target = item.get("target") or item.get("source")
            text = target.text if isinstance(target, Scalar) else None
        else:
            text = item.text if isinstance(item, Scalar) else None
        if text is None:
            return id(item)
        return text if text.startswith("/") else f"{directory}/{text}"

    return name


def _device_name(item: Node) -> object:
    """A device is named by where it stands in a replica."""
    if isinstance(item, Mapping):
        target = item.get("target") or item.get("source")
        return target.text if isinstance(target, Scalar) else id(item)
    if not isinstance(item, Scalar):
        return id(item)
    parts = item.text.split(":")
    return parts[0] if len(parts) == 1 else parts[1]


_NAMES: Final[dict[str, Callable[[Node], object]]] = {
    "aliases": _text,
    "cap_add": _text,
    "cap_drop": _text,
    "configs": _file_name(""),
    "devices": _device_name,
    "dns": _text,
    "dns_opt": _text,
    "dns_search": _text,
    "external_links": _text,
    "label_file": _text,
    "link_local_ips": _text,
    "links": _text,
    "secrets": _file_name("/run/secrets"),
    "tags": _text,
    "env_file": _path_name,
    "expose": _text,
    "ports": _port_name,
    "profiles": _text,
    "tmpfs": _tmpfs_name,
    "volumes": _mount_name,
}
