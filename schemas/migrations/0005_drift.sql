-- Drift events are warnings, drifts and recoveries, say what moved most, and what was done; what is to be told of them outside is kept until it is told.

ALTER TABLE freshet.drift_events
    ADD COLUMN kind text NOT NULL DEFAULT 'drift' CHECK (kind IN ('warning', 'drift', 'recovery', 'challenger')),
    ADD COLUMN statistic double precision,
    ADD COLUMN threshold double precision,
    ADD COLUMN features jsonb,
    ADD COLUMN slices jsonb,
    ADD COLUMN actions jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN notice_due boolean NOT NULL DEFAULT false,
    ADD COLUMN noticed_at timestamptz,
    ADD COLUMN lineage integer NOT NULL DEFAULT 1,
    ADD COLUMN incarnation integer NOT NULL DEFAULT 0;
UPDATE freshet.drift_events d SET lineage = v.lineage, incarnation = v.incarnation
FROM freshet.versions v WHERE v.pipeline = d.pipeline AND v.version = d.version;
-- A lineage that forks, or begins anew, comes by the same event again.
ALTER TABLE freshet.drift_events DROP CONSTRAINT drift_events_pkey,
    ADD PRIMARY KEY (pipeline, partition, "offset", detector, kind, lineage, incarnation);
COMMENT ON COLUMN freshet.drift_events.lineage IS 'Of the version; see freshet.versions.';
COMMENT ON COLUMN freshet.drift_events.incarnation IS 'Of the topic; see freshet.versions.';
COMMENT ON COLUMN freshet.drift_events.kind IS 'warning: a detector is close to firing. drift: it has fired. recovery: the loss is back where it was before. challenger: the learner that was begun after a drift has taken over, or was given up.';
COMMENT ON COLUMN freshet.drift_events.detector IS 'The detector''s name in the pipeline''s file; `features` and `slices` for those that compare windows; `challenger`.';
COMMENT ON COLUMN freshet.drift_events.statistic IS 'What the detector compared with its threshold, in its own terms.';
COMMENT ON COLUMN freshet.drift_events.features IS 'The fields whose values have moved most against the reference, by effect: an array.';
COMMENT ON COLUMN freshet.drift_events.slices IS 'The slices in which the loss has moved most: an array.';
COMMENT ON COLUMN freshet.drift_events.actions IS 'What the pipeline''s `on_drift` does about it: an array of its keys.';
COMMENT ON COLUMN freshet.drift_events.notice_due IS 'Somebody is to be told (on_drift.notify) and has not been yet.';
COMMENT ON COLUMN freshet.drift_events.noticed_at IS 'When they were told.';
CREATE INDEX drift_events_notices ON freshet.drift_events (pipeline, recorded_at) WHERE notice_due;
CREATE INDEX drift_events_recorded ON freshet.drift_events (pipeline, recorded_at);
