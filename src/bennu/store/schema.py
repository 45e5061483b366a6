"""The tables that the one SQLite file began with; ``migrations`` has what came to them, and the rules for all.

Each table names the module that reads and writes it; nobody else does. Columns holding JSON say so; times are Unix
seconds (REAL, UTC).
"""

from __future__ import annotations

from typing import Final

_STORE: Final = """
CREATE TABLE snapshots (            -- store.snapshots
    id TEXT PRIMARY KEY,
    parent TEXT REFERENCES snapshots (id),
    state TEXT NOT NULL CHECK (state IN ('active', 'committed')),
    owner TEXT NOT NULL,            -- "pid:start" of the process that writes an active one
    boot TEXT,                      -- the boot it was committed in while not yet synced, else NULL
    created REAL NOT NULL,
    used REAL NOT NULL
) STRICT;
CREATE TABLE layers (               -- store.layers: what a committed snapshot is as a layer
    snapshot TEXT PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE,
    diff_id TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    chain_id TEXT NOT NULL,
    tree TEXT                       -- digest of the canonical tar, the diff_id of our own layers; NULL while unknown
) STRICT;
CREATE INDEX layers_by_chain ON layers (chain_id);
CREATE INDEX layers_by_diff ON layers (diff_id);
CREATE TABLE images (               -- store.images
    manifest TEXT PRIMARY KEY,      -- digest
    config TEXT NOT NULL,           -- digest: the image's ID
    created REAL,                   -- as its configuration says, NULL if it does not
    added REAL NOT NULL
) STRICT;
CREATE INDEX images_by_config ON images (config);
CREATE TABLE image_layers (         -- store.images: the layers of each image, the lowest first
    manifest TEXT NOT NULL REFERENCES images (manifest) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    chain_id TEXT NOT NULL,
    blob TEXT NOT NULL,             -- digest that the manifest gives; equals diff_id where it is not compressed
    size_bytes INTEGER NOT NULL,    -- uncompressed
    PRIMARY KEY (manifest, position)
) STRICT;
CREATE INDEX image_layers_by_chain ON image_layers (chain_id);
CREATE INDEX image_layers_by_diff ON image_layers (diff_id);
CREATE TABLE layer_blobs (          -- store.images: stored bytes of layers, for those that their snapshots do not give
    blob TEXT PRIMARY KEY,          -- digest; equals diff_id where it is not compressed
    diff_id TEXT NOT NULL
) STRICT;
CREATE INDEX layer_blobs_by_diff ON layer_blobs (diff_id);
CREATE TABLE names (                -- store.images: references, fully qualified with their tag
    name TEXT PRIMARY KEY,
    manifest TEXT NOT NULL REFERENCES images (manifest),
    updated REAL NOT NULL
) STRICT;
CREATE INDEX names_by_manifest ON names (manifest);
CREATE TABLE operations (           -- store.operations: work under way, which garbage collection spares
    id INTEGER PRIMARY KEY,
    what TEXT NOT NULL,
    owner TEXT NOT NULL,            -- "pid:start"
    boot TEXT NOT NULL,
    started REAL NOT NULL
) STRICT;
"""

_BUILD: Final = """
CREATE TABLE steps (                -- build.cache: by any key of a step, the tree that it left
    key TEXT PRIMARY KEY,
    identity TEXT NOT NULL,         -- what steps that stand on this one have in their keys
    snapshot TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    preimage TEXT NOT NULL,         -- JSON: what the key is the digest of, field by field
    label TEXT NOT NULL,            -- for people
    created REAL NOT NULL,
    used REAL NOT NULL
) STRICT;
CREATE INDEX steps_by_snapshot ON steps (snapshot);
CREATE TABLE file_digests (         -- build.contents: files of build contexts that need not be read again
    root TEXT NOT NULL,             -- absolute path of the context
    path TEXT NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,           -- sha256
    PRIMARY KEY (root, path)
) STRICT, WITHOUT ROWID;
"""

_RUNTIME: Final = """
CREATE TABLE containers (           -- runtime.records
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    manifest TEXT,                  -- digest of its image, which is in use as long as this row is
    snapshot TEXT NOT NULL,         -- the snapshot that its root file system stands on, likewise
    body TEXT NOT NULL,             -- JSON: runtime.records.Record
    transient INTEGER NOT NULL,     -- it is removed when it has ended
    created REAL NOT NULL
) STRICT;
CREATE INDEX containers_by_manifest ON containers (manifest);
CREATE INDEX containers_by_snapshot ON containers (snapshot);
CREATE INDEX transient_containers ON containers (transient) WHERE transient;
CREATE TABLE container_labels (     -- runtime.records
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (container, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_labels_by_value ON container_labels (name, value);
CREATE TABLE volumes (              -- runtime.volumes
    name TEXT PRIMARY KEY,
    anonymous INTEGER NOT NULL,
    labels TEXT NOT NULL,           -- JSON
    created REAL NOT NULL
) STRICT;
CREATE TABLE container_volumes (    -- runtime.volumes
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    volume TEXT NOT NULL REFERENCES volumes (name),
    PRIMARY KEY (container, volume)
) STRICT, WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes (volume);
CREATE TABLE networks (             -- runtime.networks
    name TEXT PRIMARY KEY,
    bridge TEXT NOT NULL UNIQUE,    -- the interface's name
    subnet TEXT NOT NULL UNIQUE,
    gateway TEXT NOT NULL,
    last TEXT,                      -- the container's address that was given out last
    created REAL NOT NULL
) STRICT;
CREATE TABLE network_addresses (    -- runtime.networks
    network TEXT NOT NULL REFERENCES networks (name),
    address TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('container', 'service')),
    owner TEXT NOT NULL,            -- a container's id or a service's name
    position INTEGER NOT NULL DEFAULT 0,  -- of a container: which of its interfaces
    PRIMARY KEY (network, address),
    UNIQUE (owner, network, kind)
) STRICT;
"""

_ENGINE: Final = """
CREATE TABLE engine_projects (      -- engine.embedded.records, as all of these
    name TEXT PRIMARY KEY,
    services TEXT NOT NULL          -- JSON: name -> compose.model.Service, of the last preparation
) STRICT;
CREATE TABLE engine_sets (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    service TEXT NOT NULL,
    spec TEXT NOT NULL,             -- JSON: engine.sets.SetSpec
    released REAL,                  -- when it last lost the traffic
    PRIMARY KEY (project, id)
) STRICT;
CREATE TABLE engine_active (
    project TEXT NOT NULL,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (project, service),
    FOREIGN KEY (project, id) REFERENCES engine_sets (project, id)
) STRICT;
CREATE TABLE engine_health (
    container TEXT PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    body TEXT NOT NULL              -- JSON: engine.embedded.health.HealthState
) STRICT;
CREATE TABLE engine_ports (         -- host ports of ports that are published anywhere
    project TEXT NOT NULL,
    service TEXT NOT NULL,
    target INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    port INTEGER NOT NULL,
    PRIMARY KEY (project, service, target, protocol)
) STRICT;
"""

_DEPLOY: Final = """
CREATE TABLE releases (             -- deploy.history
    digest TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    body TEXT NOT NULL,             -- JSON: deploy.release.Release
    created REAL NOT NULL
) STRICT;
CREATE TABLE revisions (            -- deploy.history
    project TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('apply', 'rollback')),
    release TEXT NOT NULL REFERENCES releases (digest),
    origin INTEGER NOT NULL,        -- the revision whose release this is: its own number, or the one gone back to
    sets TEXT NOT NULL,             -- JSON: service -> set
    state TEXT NOT NULL CHECK (state IN ('rolling', 'active', 'superseded', 'failed', 'stuck', 'ended')),
    plan TEXT NOT NULL,             -- JSON: deploy.planning.plan.Plan
    author TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    phases TEXT NOT NULL DEFAULT '{}',  -- JSON: phase -> seconds
    reason TEXT,
    PRIMARY KEY (project, number)
) STRICT;
CREATE UNIQUE INDEX one_active_revision ON revisions (project) WHERE state = 'active';
CREATE UNIQUE INDEX one_rolling_revision ON revisions (project) WHERE state = 'rolling';
"""

FIRST: Final = _STORE + _BUILD + _RUNTIME + _ENGINE + _DEPLOY
"""The first migration."""
