"""What came to the schema, in order. ``PRAGMA user_version`` says how many of ``MIGRATIONS`` have been applied.

A released migration is never edited; a new one is appended. Tables are described as in ``schema``, which has the first.
"""

from __future__ import annotations

from typing import Final

from bennu.store.schema import FIRST

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
CREATE TABLE hook_calls (           -- deploy.telling.outbox
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    event TEXT NOT NULL,            -- JSON: deploy.telling.hooks.Event
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
CREATE TABLE drift_findings (       -- deploy.drift.records, as those below
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
    body TEXT NOT NULL,             -- JSON: deploy.drift.records.Baseline
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
CREATE TABLE holds (                -- deploy.hold.records
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    service TEXT NOT NULL,
    position INTEGER NOT NULL,      -- which replica of the service
    body TEXT NOT NULL,             -- JSON: deploy.hold.Hold
    ended REAL                      -- NULL while it lives
) STRICT;
CREATE UNIQUE INDEX living_holds ON holds (project, service, position) WHERE ended IS NULL;
CREATE TABLE hold_journal (         -- deploy.hold.records: what drifted, one row for each thing
    hold INTEGER NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    first REAL NOT NULL,
    last REAL NOT NULL,
    count INTEGER NOT NULL,
    UNIQUE (hold, kind, what)
) STRICT;
CREATE TABLE hold_looks (           -- deploy.hold.records: what the last look found
    hold INTEGER PRIMARY KEY REFERENCES holds (id) ON DELETE CASCADE,
    body BLOB NOT NULL              -- compressed JSON
) STRICT;
"""

_NO_FILE_DIGESTS: Final = """
DROP TABLE file_digests;            -- they are in files
"""

MIGRATIONS: Final[tuple[str, ...]] = (
    FIRST,
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
