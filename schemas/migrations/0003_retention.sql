-- Dead letters are counted and their replay is recorded; what belongs to a version goes with it when it is collected.

CREATE TABLE freshet.dead_letters (
    pipeline text NOT NULL,
    version bigint NOT NULL,
    partition integer NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL,
    PRIMARY KEY (pipeline, version, partition, reason),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions ON DELETE CASCADE
);
COMMENT ON TABLE freshet.dead_letters IS 'Events refused since the version''s parent, counted by partition and reason; duplicates and excluded events, of which no letter leaves, are not among them. Written with the version, whether or not the pipeline has a dead-letter topic.';

CREATE TABLE freshet.dead_letter_replays (
    pipeline text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    PRIMARY KEY (pipeline, topic, partition, "offset")
);
COMMENT ON TABLE freshet.dead_letter_replays IS 'Dead letters that were sent to the pipeline''s topic again, by the position of the refused event.';
COMMENT ON COLUMN freshet.dead_letter_replays.claimed_at IS 'Before it was sent: so it is not sent a second time, whatever dies when.';
COMMENT ON COLUMN freshet.dead_letter_replays.sent_at IS 'When the broker had acknowledged it. NULL: it is not known whether it was written.';

-- A version that is collected takes its drift events and publications along. A snapshot still keeps its version.
ALTER TABLE freshet.drift_events DROP CONSTRAINT drift_events_pipeline_version_fkey,
    ADD FOREIGN KEY (pipeline, version) REFERENCES freshet.versions ON DELETE CASCADE;
ALTER TABLE freshet.publications DROP CONSTRAINT publications_pipeline_version_fkey,
    ADD FOREIGN KEY (pipeline, version) REFERENCES freshet.versions ON DELETE CASCADE;

ALTER TABLE freshet.pipelines ADD COLUMN collected_version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN freshet.pipelines.collected_version IS 'The newest version that was collected. Some before it stay while something needs them.';
