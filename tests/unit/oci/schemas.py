"""JSON Schemas of the OCI image documents, written from the field rules of the specification (v1.1).

descriptor.md, manifest.md, image-index.md, config.md, image-layout.md, annotations.md. Strict where the specification
says what an implementation must write; members that it does not name are refused, so that a misspelt one is seen.
"""

DIGEST = {
    "type": "string",
    "pattern": r"^[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+$",
    "anyOf": [{"pattern": r"^sha256:[0-9a-f]{64}$"}, {"pattern": r"^sha512:[0-9a-f]{128}$"}],
}
MEDIA_TYPE = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$",
}
ANNOTATIONS = {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": {"type": "string"}}
STRINGS = {"type": "array", "items": {"type": "string"}}
SET = {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"}

PLATFORM = {
    "type": "object",
    "required": ["architecture", "os"],
    "properties": {
        "architecture": {"type": "string", "minLength": 1},
        "os": {"type": "string", "minLength": 1},
        "os.version": {"type": "string"},
        "os.features": STRINGS,
        "variant": {"type": "string"},
    },
    "additionalProperties": False,
}

DESCRIPTOR = {
    "type": "object",
    "required": ["mediaType", "digest", "size"],
    "properties": {
        "mediaType": MEDIA_TYPE,
        "digest": DIGEST,
        "size": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        "urls": {"type": "array", "items": {"type": "string", "format": "uri"}},
        "annotations": ANNOTATIONS,
        "data": {"type": "string", "contentEncoding": "base64"},
        "artifactType": MEDIA_TYPE,
        "platform": PLATFORM,
    },
    "additionalProperties": False,
}


def _pointing(media_types):
    return {"allOf": [DESCRIPTOR, {"properties": {"mediaType": {"enum": media_types}}}]}


_V1 = "application/vnd.oci.image."
MANIFEST = {
    "type": "object",
    "required": ["schemaVersion", "config", "layers"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": _V1 + "manifest.v1+json"},
        "artifactType": MEDIA_TYPE,
        "config": _pointing([_V1 + "config.v1+json"]),
        "layers": {
            "type": "array",
            "items": _pointing([_V1 + "layer.v1.tar", _V1 + "layer.v1.tar+gzip", _V1 + "layer.v1.tar+zstd"]),
        },
        "subject": DESCRIPTOR,
        "annotations": ANNOTATIONS,
    },
    "additionalProperties": False,
}

INDEX = {
    "type": "object",
    "required": ["schemaVersion", "manifests"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": _V1 + "index.v1+json"},
        "artifactType": MEDIA_TYPE,
        "manifests": {"type": "array", "items": _pointing([_V1 + "manifest.v1+json", _V1 + "index.v1+json"])},
        "subject": DESCRIPTOR,
        "annotations": ANNOTATIONS,
    },
    "additionalProperties": False,
}

LAYOUT = {
    "type": "object",
    "required": ["imageLayoutVersion"],
    "properties": {"imageLayoutVersion": {"const": "1.0.0"}},
    "additionalProperties": False,
}

HEALTHCHECK = {
    "type": "object",
    "properties": {
        "Test": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "prefixItems": [{"enum": ["NONE", "CMD", "CMD-SHELL"]}],
        },
        **{
            name: {"type": "integer", "minimum": 0}
            for name in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
        },
    },
    "additionalProperties": False,
}

CONFIG = {
    "type": "object",
    "required": ["architecture", "os", "rootfs"],
    "properties": {
        "created": TIME,
        "author": {"type": "string"},
        **PLATFORM["properties"],
        "config": {
            "type": "object",
            "properties": {
                "User": {"type": "string"},
                "ExposedPorts": {**SET, "propertyNames": {"pattern": r"^\d+(/(tcp|udp|sctp))?$"}},
                "Env": {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
                "Entrypoint": STRINGS,
                "Cmd": STRINGS,
                "Volumes": SET,
                "WorkingDir": {"type": "string"},
                "Labels": ANNOTATIONS,
                "StopSignal": {"type": "string", "pattern": r"^(SIG[A-Z0-9+-]+|\d+)$"},
                "ArgsEscaped": {"type": "boolean"},
                "Healthcheck": HEALTHCHECK,
                "OnBuild": STRINGS,
                "Shell": STRINGS,
            },
            "additionalProperties": False,
        },
        "rootfs": {
            "type": "object",
            "required": ["type", "diff_ids"],
            "properties": {"type": {"const": "layers"}, "diff_ids": {"type": "array", "items": DIGEST}},
            "additionalProperties": False,
        },
        "history": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "created": TIME,
                    "created_by": {"type": "string"},
                    "author": {"type": "string"},
                    "comment": {"type": "string"},
                    "empty_layer": {"type": "boolean"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}

DOCKER_ARCHIVE = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["Config", "RepoTags", "Layers"],
        "properties": {"Config": {"type": "string", "minLength": 1}, "RepoTags": STRINGS, "Layers": STRINGS},
        "additionalProperties": False,
    },
}
