"""The schema of the one SQLite file, as migrations in order. ``PRAGMA user_version`` says how many have been applied.

A released migration is never edited; a new one is appended. Each table names the package that reads and writes it;
nobody else does. Columns holding JSON say so; times are Unix seconds (REAL, UTC).
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
    plan TEXT NOT NULL,             -- JSON: deploy.plan.Plan
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

_STOPPED_SETS: Final = """
-- engine.embedded.records: 1 where a set was stopped on purpose, so that nobody brings its replicas back
ALTER TABLE engine_sets ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
"""

_SIZES: Final = """
-- store.snapshots: what a committed snapshot takes on the disk, NULL until somebody has measured it
ALTER TABLE snapshots ADD COLUMN size_bytes INTEGER;
"""

_BUILDS: Final = """
CREATE TABLE builds (               -- build.records
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    manifest TEXT,                  -- digest of the image that it came to, NULL where it failed
    scope TEXT NOT NULL,            -- builds of the same thing have the same
    started REAL NOT NULL,
    body BLOB NOT NULL              -- compressed JSON: build.records.BuildRecord
) STRICT;
CREATE INDEX builds_by_scope ON builds (scope);
CREATE INDEX builds_by_manifest ON builds (manifest);
CREATE TABLE listings (             -- build.records: what steps took, by the digest of the whole
    content TEXT PRIMARY KEY,
    body BLOB NOT NULL,             -- compressed: path, mode, owner and digest of each file
    created REAL NOT NULL
) STRICT;
CREATE TABLE dated_snapshots (      -- build.dating: trees that were made for a SOURCE_DATE_EPOCH
    snapshot TEXT PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    source TEXT                     -- the snapshot that it is a copy of, with other times
) STRICT;
CREATE INDEX dated_snapshots_by_source ON dated_snapshots (source);
"""

_INDEXES: Final = """
CREATE TABLE indexes (              -- store.indexes: images for several platforms that go by one name
    digest TEXT PRIMARY KEY,
    preferred TEXT NOT NULL REFERENCES images (manifest),  -- the one that this host runs
    added REAL NOT NULL
) STRICT;
CREATE TABLE index_images (         -- store.indexes: those of its manifests that are images of this store, in order
    digest TEXT NOT NULL REFERENCES indexes (digest) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    manifest TEXT NOT NULL REFERENCES images (manifest),
    PRIMARY KEY (digest, position)
) STRICT;
CREATE INDEX index_images_by_manifest ON index_images (manifest);
-- store.images: the index that a name means; ``manifest`` is then the one of its images that this host runs
ALTER TABLE names ADD COLUMN index_digest TEXT REFERENCES indexes (digest);
CREATE INDEX names_by_index ON names (index_digest);
"""

_VERDICTS: Final = """
-- deploy.history: JSON: service or set -> what was measured of it -> number; 1 where the release itself is to blame for
-- the failure; JSON: deploy.history.Source, NULL where no saved plan was applied
ALTER TABLE revisions ADD COLUMN figures TEXT NOT NULL DEFAULT '{}';
ALTER TABLE revisions ADD COLUMN bad INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revisions ADD COLUMN source TEXT;
UPDATE revisions SET bad = 1 WHERE state IN ('failed', 'stuck') AND reason IS NOT NULL
    AND reason NOT IN ('interrupted', 'the process that carried this plan out has died');
CREATE TABLE saved_plans (          -- deploy.history: plans that were saved to files; their images stay for a time
    digest TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    revision INTEGER NOT NULL,      -- the one that it was made at: void when there is a later one
    images TEXT NOT NULL,           -- JSON: manifest digests
    created REAL NOT NULL
) STRICT;
CREATE TABLE engine_leaving (       -- engine.embedded.records: replicas that are about to be removed
    container TEXT PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    until REAL NOT NULL             -- so long nobody gives it traffic (Unix seconds), should its remover have died
) STRICT;
"""

_HOOKS: Final = """
CREATE TABLE policies (             -- deploy.history: how a project is looked after, as of what was applied last
    project TEXT PRIMARY KEY,
    body TEXT NOT NULL              -- JSON: deploy.policy.Policy
) STRICT;
CREATE TABLE hook_calls (           -- deploy.outbox
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    event TEXT NOT NULL,            -- JSON: deploy.hooks.Event
    hook TEXT NOT NULL,             -- JSON: compose.extension.Hook
    directory TEXT NOT NULL,
    created REAL NOT NULL,
    due REAL,                       -- when the agent is to try; NULL: given up
    failures INTEGER NOT NULL DEFAULT 0,
    problem TEXT
) STRICT;
CREATE INDEX hook_calls_by_due ON hook_calls (due);
"""

_DRILLS: Final = """
-- deploy.history: a third kind; a CHECK can only be changed by making the table again
CREATE TABLE revisions_with_reprovision (
    project TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('apply', 'rollback', 'reprovision')),
    release TEXT NOT NULL REFERENCES releases (digest),
    origin INTEGER NOT NULL,
    sets TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('rolling', 'active', 'superseded', 'failed', 'stuck', 'ended')),
    plan TEXT NOT NULL,
    author TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL,
    phases TEXT NOT NULL DEFAULT '{}',
    reason TEXT,
    figures TEXT NOT NULL DEFAULT '{}',
    bad INTEGER NOT NULL DEFAULT 0,
    source TEXT,
    PRIMARY KEY (project, number)
) STRICT;
INSERT INTO revisions_with_reprovision
    (project, number, kind, release, origin, sets, state, plan, author, started, finished, phases, reason, figures, bad,
    source)
    SELECT project, number, kind, release, origin, sets, state, plan, author, started, finished, phases, reason,
    figures, bad, source FROM revisions;
DROP TABLE revisions;
ALTER TABLE revisions_with_reprovision RENAME TO revisions;
CREATE UNIQUE INDEX one_active_revision ON revisions (project) WHERE state = 'active';
CREATE UNIQUE INDEX one_rolling_revision ON revisions (project) WHERE state = 'rolling';
CREATE TABLE drills (               -- deploy.drills
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    service TEXT NOT NULL,
    rebuild INTEGER NOT NULL,       -- 1: the image was built from scratch
    started REAL NOT NULL,
    finished REAL NOT NULL,
    ok INTEGER NOT NULL,
    author TEXT NOT NULL,
    revision INTEGER,
    reason TEXT
) STRICT;
CREATE INDEX drills_by_project ON drills (project, service);
"""

_TRANSFERS: Final = """
CREATE TABLE compressed_layers (    -- registry.sent: what layers became when they left, so that they do again
    diff_id TEXT NOT NULL,
    compression TEXT NOT NULL,      -- and its level: "gzip:1"
    blob TEXT NOT NULL,             -- digest of the compressed bytes, which are not kept
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (diff_id, compression)
) STRICT, WITHOUT ROWID;
CREATE TABLE pushed_images (        -- registry.sent: what images are called where they were sent
    repository TEXT NOT NULL,       -- with its host
    manifest TEXT NOT NULL,         -- digest here, of an image or an index
    digest TEXT NOT NULL,           -- digest there
    pushed REAL NOT NULL,
    PRIMARY KEY (repository, manifest)
) STRICT, WITHOUT ROWID;
"""

_DRIFT: Final = """
CREATE TABLE layer_inventories (    -- engine.embedded.surveyed_store: what stat said of a layer's files
    snapshot TEXT PRIMARY KEY REFERENCES snapshots (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,           -- of the body, not compressed
    body BLOB NOT NULL,             -- compressed MessagePack: host.listing.Item of each
    recorded REAL NOT NULL
) STRICT;
CREATE TABLE drift_findings (       -- deploy.drift_records, as those below
    project TEXT NOT NULL,
    id TEXT NOT NULL,               -- digest of what, where and which
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    body TEXT NOT NULL,             -- JSON: deploy.drift.Drift
    PRIMARY KEY (project, id)
) STRICT;
CREATE TABLE drift_looks (          -- the last look at each project
    project TEXT PRIMARY KEY,
    taken REAL NOT NULL,
    notes TEXT NOT NULL             -- JSON
) STRICT;
CREATE TABLE drift_baselines (      -- what the host and the images' names were like when a revision was looked at first
    project TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,             -- JSON: deploy.drift_records.Baseline
    recorded REAL NOT NULL
) STRICT;
"""

_VOLUMES: Final = """
-- runtime.volumes: JSON, what the local driver mounts (type, o, device); empty for a directory of the store
ALTER TABLE volumes ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
CREATE TABLE volume_snapshots (     -- runtime.volume_snapshots
    id TEXT PRIMARY KEY,
    volume TEXT NOT NULL REFERENCES volumes (name),
    project TEXT NOT NULL,
    revision INTEGER NOT NULL,      -- whose data these are: the one that was active
    rollout INTEGER NOT NULL,       -- the revision that was being rolled out when it was taken
    method TEXT NOT NULL,
    consistency TEXT NOT NULL,
    files INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    seconds REAL NOT NULL,
    created REAL NOT NULL,
    UNIQUE (project, rollout, volume)
) STRICT;
CREATE INDEX volume_snapshots_by_volume ON volume_snapshots (volume);
CREATE TABLE volume_restores (      -- runtime.volume_restores: data that are being put back
    volume TEXT PRIMARY KEY REFERENCES volumes (name),
    id TEXT NOT NULL,               -- of the snapshot that the present data become
    body TEXT NOT NULL              -- JSON: runtime.volume_restores.Restore
) STRICT;
CREATE TABLE engine_quiet (         -- engine.embedded.quieting: replicas that have to be let go again
    container TEXT PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    project TEXT NOT NULL,
    owner TEXT NOT NULL,            -- "pid:start" of the process that does it
    resume TEXT                     -- JSON: compose.extension.Quiesce; NULL where it is paused
) STRICT;
"""

_COMMITS: Final = """
CREATE TABLE commits (              -- deploy.commits: what became of commits that were pushed or followed
    source TEXT NOT NULL,           -- repository and reference
    commit_id TEXT NOT NULL,
    parent TEXT,                    -- the commit that the reference was at before
    state TEXT NOT NULL CHECK (state IN ('trying', 'deployed', 'landed', 'failed')),
    tried REAL NOT NULL,
    reason TEXT,
    PRIMARY KEY (source, commit_id)
) STRICT;
"""

_HOLDS: Final = """
CREATE TABLE holds (                -- deploy.holds
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    service TEXT NOT NULL,
    position INTEGER NOT NULL,      -- which replica of the service
    body TEXT NOT NULL,             -- JSON: deploy.hold.Hold
    ended REAL                      -- NULL while it lives
) STRICT;
CREATE UNIQUE INDEX living_holds ON holds (project, service, position) WHERE ended IS NULL;
CREATE TABLE hold_journal (         -- deploy.holds: what drifted, one row for each thing
    hold INTEGER NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    first REAL NOT NULL,
    last REAL NOT NULL,
    count INTEGER NOT NULL,
    UNIQUE (hold, kind, what)
) STRICT;
CREATE TABLE hold_looks (           -- deploy.holds: what the last look found
    hold INTEGER PRIMARY KEY REFERENCES holds (id) ON DELETE CASCADE,
    body BLOB NOT NULL              -- compressed JSON
) STRICT;
"""

_NO_FILE_DIGESTS: Final = """
DROP TABLE file_digests;            -- they are in files
"""

MIGRATIONS: Final[tuple[str, ...]] = (
    _STORE + _BUILD + _RUNTIME + _ENGINE + _DEPLOY,
    _STOPPED_SETS,
    _SIZES,
    _BUILDS,
    _INDEXES,
    _VERDICTS,
    _HOOKS,
    _DRILLS,
    _TRANSFERS,
    _DRIFT,
    _VOLUMES,
    _COMMITS,
    _HOLDS,
    _NO_FILE_DIGESTS,
)
