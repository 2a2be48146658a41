-- The history of every pipeline: the recorded order, its versions, and what left the program because of them.
-- Everything is in the schema `freshet`. `freshet migrate` makes it and the tables; rows are written by the holder of a pipeline's lease only,
-- node reports excepted.

CREATE TABLE freshet.pipelines (
    pipeline text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    epoch bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp())::bigint,
    holder text,
    lease_expires_at timestamptz,
    effects_version bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE freshet.pipelines IS 'One row a pipeline: its lease and fencing epoch.';
COMMENT ON COLUMN freshet.pipelines.epoch IS 'Goes up with each learner that takes the lease, from the time of the first registration: so a later database or pipeline that publishes to the same topics fences off an earlier one. A version is written under the epoch of its learner, or not at all.';
COMMENT ON COLUMN freshet.pipelines.holder IS 'Who holds the lease, for people: host and process.';
COMMENT ON COLUMN freshet.pipelines.effects_version IS 'Up to this version all dead letters have left. Recovery sends those of later versions again.';

CREATE TABLE freshet.definitions (
    pipeline text NOT NULL REFERENCES freshet.pipelines,
    learning_hash text NOT NULL,
    source text NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, learning_hash)
);
COMMENT ON TABLE freshet.definitions IS 'The pipeline files as they were written; variables are not filled in, so no secret is here.';

CREATE TABLE freshet.versions (
    pipeline text NOT NULL REFERENCES freshet.pipelines,
    version bigint NOT NULL,
    lineage integer NOT NULL DEFAULT 1,
    parent bigint NOT NULL,
    epoch bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    semantics integer NOT NULL,
    learning_hash text NOT NULL,
    learned bigint NOT NULL,
    refused bigint NOT NULL,
    entries bytea NOT NULL,
    positions bigint[] NOT NULL,
    input_hash bigint NOT NULL,
    trace_hash bigint NOT NULL,
    image_hash text NOT NULL,
    metrics jsonb NOT NULL,
    newest_event_ms bigint NOT NULL,
    PRIMARY KEY (pipeline, version),
    UNIQUE (pipeline, lineage, parent)
);
COMMENT ON TABLE freshet.versions IS 'A version is a position in the recorded order. Its row is also the commit of the Kafka offsets.';
COMMENT ON COLUMN freshet.versions.parent IS 'The version before; 0 for the first.';
COMMENT ON COLUMN freshet.versions.learned IS 'Events learned since the parent.';
COMMENT ON COLUMN freshet.versions.refused IS 'Events refused since the parent.';
COMMENT ON COLUMN freshet.versions.entries IS 'The runs and commands since the parent, in the order in which they were applied.';
COMMENT ON COLUMN freshet.versions.positions IS 'Pairs of partition and next offset, by ascending partition.';
COMMENT ON COLUMN freshet.versions.input_hash IS 'Runs over the position and bytes of every event read.';
COMMENT ON COLUMN freshet.versions.trace_hash IS 'Runs over the position and predicted margin of every event learned.';
COMMENT ON COLUMN freshet.versions.image_hash IS 'The content of the image: quantized weights, scales and moments.';
COMMENT ON COLUMN freshet.versions.metrics IS 'Progressive metrics: window, total, reference, refused.';
COMMENT ON COLUMN freshet.versions.newest_event_ms IS 'The largest Kafka timestamp of the events up to here, in milliseconds since 1970; 0 before the first.';
CREATE INDEX versions_created_at ON freshet.versions (pipeline, created_at);

CREATE TABLE freshet.commands (
    pipeline text NOT NULL,
    version bigint NOT NULL,
    ordinal integer NOT NULL,
    kind text NOT NULL,
    command jsonb NOT NULL,
    PRIMARY KEY (pipeline, version, ordinal),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions ON DELETE CASCADE
);
COMMENT ON TABLE freshet.commands IS 'The commands among the entries of versions, to be read by people; the order itself is in versions.entries.';

CREATE TABLE freshet.snapshots (
    pipeline text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL,
    bytes bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    chunks integer NOT NULL,
    sha256 text NOT NULL,
    PRIMARY KEY (pipeline, version),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions
);
COMMENT ON TABLE freshet.snapshots IS 'The whole state at a version: a cache that makes recovery quick.';
COMMENT ON COLUMN freshet.snapshots.sha256 IS 'Of the state before compression.';

CREATE TABLE freshet.snapshot_chunks (
    pipeline text NOT NULL,
    version bigint NOT NULL,
    chunk bigint NOT NULL,
    bytes bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (pipeline, version, chunk),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.snapshots ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
-- The chunks are compressed already; pglz would only spend time on them.
ALTER TABLE freshet.snapshot_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
COMMENT ON COLUMN freshet.snapshot_chunks.bytes IS 'The size of this chunk of the state before compression (zstd).';

CREATE TABLE freshet.drift_events (
    pipeline text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    detector text NOT NULL,
    version bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error_before double precision NOT NULL,
    error_after double precision NOT NULL,
    events_before bigint NOT NULL,
    events_after bigint NOT NULL,
    before jsonb,
    after jsonb,
    reference jsonb,
    PRIMARY KEY (pipeline, partition, "offset", detector),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions
);
COMMENT ON TABLE freshet.drift_events IS 'Where a detector fired, keyed by the event on which it did.';
COMMENT ON COLUMN freshet.drift_events.version IS 'The first version that has learned that event.';
COMMENT ON COLUMN freshet.drift_events.error_before IS 'Mean absolute error |label - prediction| before the change, by the detector.';
COMMENT ON COLUMN freshet.drift_events.before IS 'Metrics of the last full window of events that ended before the alarm.';
COMMENT ON COLUMN freshet.drift_events.after IS 'Metrics of the newest window at the alarm.';
CREATE INDEX drift_events_version ON freshet.drift_events (pipeline, version);

CREATE TABLE freshet.publications (
    pipeline text NOT NULL,
    publication bigint NOT NULL,
    version bigint NOT NULL,
    epoch bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('patch', 'image', 'notice')),
    base bigint,
    image_hash text NOT NULL,
    blocks integer NOT NULL,
    messages integer NOT NULL,
    bytes bigint NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, publication, kind),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions
);
COMMENT ON TABLE freshet.publications IS 'What was sent to the serving nodes: patches, whole images, and notices that only an image will do.';
COMMENT ON COLUMN freshet.publications.base IS 'The publication that a patch changes.';
CREATE INDEX publications_version ON freshet.publications (pipeline, version);

CREATE TABLE freshet.nodes (
    pipeline text NOT NULL,
    node text NOT NULL,
    address text NOT NULL,
    version bigint NOT NULL,
    publication bigint NOT NULL,
    image_hash text NOT NULL,
    swaps bigint NOT NULL,
    swapped_at timestamptz NOT NULL,
    swap_microseconds bigint NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pipeline, node)
);
COMMENT ON TABLE freshet.nodes IS 'What each serving node said last of itself.';
