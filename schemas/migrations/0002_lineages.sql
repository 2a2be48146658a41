-- Lineages that fork, what operators ask of the learner, and what the broker no longer had.

-- Normally a version's parent is the number before it, and this index is empty.
CREATE INDEX versions_forks ON freshet.versions (pipeline, version) WHERE parent <> version - 1;
COMMENT ON COLUMN freshet.versions.lineage IS 'Counts up with every fork, and where a lineage begins anew.';
COMMENT ON COLUMN freshet.versions.parent IS 'The version before it in its lineage; 0 for the first. A fork has a parent other than the number before its own: what lies between them was abandoned.';

ALTER TABLE freshet.versions ADD COLUMN incarnation integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN freshet.versions.incarnation IS 'Counts up when the topic is known to have been deleted and created again: offsets of another one say nothing about it.';

ALTER TABLE freshet.snapshots ADD COLUMN format integer NOT NULL DEFAULT 2;
COMMENT ON COLUMN freshet.snapshots.format IS 'The format of the state: SFS2, SFS3, ...';

ALTER TABLE freshet.definitions ADD COLUMN schema bytea;
COMMENT ON COLUMN freshet.definitions.schema IS 'The JSON Schema that the file named, as it was; null without one, and in rows of older programs.';

CREATE TABLE freshet.requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL REFERENCES freshet.pipelines,
    kind text NOT NULL,
    body jsonb NOT NULL,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'refused')),
    answered_at timestamptz,
    version bigint,
    answer text
);
COMMENT ON TABLE freshet.requests IS 'What operators ask of the learner: they insert a row, and the holder of the lease acts on it.';
COMMENT ON COLUMN freshet.requests.answer IS 'Why it was refused.';
COMMENT ON COLUMN freshet.requests.version IS 'The version that does what was asked: recorded in the same transaction as the answer.';
CREATE INDEX requests_waiting ON freshet.requests (pipeline, id) WHERE state = 'waiting';

CREATE TABLE freshet.gaps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL REFERENCES freshet.pipelines,
    version bigint,
    partition integer NOT NULL,
    first bigint NOT NULL,
    next bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('log_begins', 'log_ends', 'recreated')),
    reason text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE freshet.gaps IS 'Where the broker did not have what was to be read next.';
COMMENT ON COLUMN freshet.gaps.version IS 'The version that went on behind it; null where the learner stopped.';
COMMENT ON COLUMN freshet.gaps.first IS 'The offset that was next.';
COMMENT ON COLUMN freshet.gaps.next IS 'The offset to go on from: where the log begins, or, of a log that ends before `first`, where it ends.';
CREATE INDEX gaps_pipeline ON freshet.gaps (pipeline, id);
