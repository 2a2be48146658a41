-- What questions need: each node's swaps, figures as columns, indexes by time, and views made to be read, whose names and columns stay.

CREATE TABLE freshet.node_swaps (
    pipeline text NOT NULL,
    node text NOT NULL,
    swapped_at timestamptz NOT NULL,
    version bigint NOT NULL,
    publication bigint NOT NULL,
    swap_microseconds bigint NOT NULL,
    PRIMARY KEY (pipeline, node, swapped_at),
    FOREIGN KEY (pipeline, version) REFERENCES freshet.versions ON DELETE CASCADE
);
COMMENT ON TABLE freshet.node_swaps IS 'What each serving node has served, from its reports: of several swaps between two reports, which are a second apart, only the last. A row goes with its version.';
COMMENT ON COLUMN freshet.node_swaps.swapped_at IS 'By the node''s clock.';
COMMENT ON COLUMN freshet.node_swaps.publication IS 'The publication that brought the version: after a rollback a greater one has an older version.';
CREATE INDEX node_swaps_version ON freshet.node_swaps (pipeline, version);

-- Figures that are searched and plotted, out of `metrics`: as columns an index can hold them, and is all that is read. Rows that are there are written anew.
ALTER TABLE freshet.versions
    ADD COLUMN learned_total bigint GENERATED ALWAYS AS ((metrics->'total'->>'events')::bigint) STORED,
    ADD COLUMN logloss double precision GENERATED ALWAYS AS ((metrics->'window'->>'logloss')::double precision) STORED,
    ADD COLUMN loss double precision GENERATED ALWAYS AS ((metrics->'window'->>'loss')::double precision) STORED,
    ADD COLUMN mae double precision GENERATED ALWAYS AS ((metrics->'window'->>'mae')::double precision) STORED,
    ADD COLUMN rmse double precision GENERATED ALWAYS AS ((metrics->'window'->>'rmse')::double precision) STORED,
    ADD COLUMN auc double precision GENERATED ALWAYS AS ((metrics->'window'->>'auc')::double precision) STORED,
    ADD COLUMN accuracy double precision GENERATED ALWAYS AS ((metrics->'window'->>'accuracy')::double precision) STORED,
    ADD COLUMN precision double precision GENERATED ALWAYS AS ((metrics->'window'->>'precision')::double precision) STORED,
    ADD COLUMN recall double precision GENERATED ALWAYS AS ((metrics->'window'->>'recall')::double precision) STORED,
    ADD COLUMN f1 double precision GENERATED ALWAYS AS ((metrics->'window'->>'f1')::double precision) STORED,
    ADD COLUMN calibration_error double precision GENERATED ALWAYS AS ((metrics->'window'->>'calibration_error')::double precision) STORED;
COMMENT ON COLUMN freshet.versions.learned_total IS 'Events learned in the lineage up to here, of metrics.';
COMMENT ON COLUMN freshet.versions.logloss IS 'Of the window, from metrics; so are the other figures.';
CREATE INDEX versions_figures ON freshet.versions (pipeline, version) INCLUDE (logloss, loss, mae, rmse, auc, accuracy, precision, recall, f1, calibration_error);

CREATE INDEX publications_sent_at ON freshet.publications (pipeline, sent_at);
CREATE INDEX decisions_decided_at ON freshet.decisions (pipeline, decided_at);
-- With a gate every version has a decision to publish it: the others are few, and are looked for among them.
CREATE INDEX decisions_notable ON freshet.decisions (pipeline, id) WHERE NOT (decided_by = 'gate' AND decision = 'publish');

CREATE VIEW freshet.version_history AS
SELECT v.pipeline, v.version, v.lineage, v.parent, v.created_at, v.learned, v.refused, v.learned_total,
    CASE WHEN v.newest_event_ms > 0 THEN to_timestamp(v.newest_event_ms / 1000.0) END AS newest_event_at,
    CASE WHEN v.newest_event_ms > 0 THEN extract(epoch FROM v.created_at) * 1000 - v.newest_event_ms END::double precision AS freshness_ms,
    v.logloss, v.loss, v.auc, v.accuracy, v.calibration_error, v.learning_hash, v.image_hash,
    EXISTS (SELECT 1 FROM freshet.snapshots s WHERE s.pipeline = v.pipeline AND s.version = v.version) AS has_snapshot,
    p.publication, p.sent_at AS published_at, d.decision, d.decided_by, d.rule,
    (SELECT count(*) FROM freshet.drift_events e WHERE e.pipeline = v.pipeline AND e.version = v.version AND e.kind = 'drift') AS drift_events
FROM freshet.versions v
LEFT JOIN LATERAL (
    SELECT publication, sent_at FROM freshet.publications p WHERE p.pipeline = v.pipeline AND p.version = v.version ORDER BY sent_at LIMIT 1) p ON true
LEFT JOIN LATERAL (
    SELECT decision, decided_by, rule FROM freshet.decisions d WHERE d.pipeline = v.pipeline AND d.version = v.version ORDER BY id DESC LIMIT 1) d ON true;
COMMENT ON VIEW freshet.version_history IS 'One row a version: what it learned, how well it predicted, whether it was published. Ask it with a pipeline and a range of versions, or of created_at.';
COMMENT ON COLUMN freshet.version_history.parent IS 'The version before it in its lineage; 0 for the first.';
COMMENT ON COLUMN freshet.version_history.learned IS 'Events learned since the parent.';
COMMENT ON COLUMN freshet.version_history.refused IS 'Events refused since the parent.';
COMMENT ON COLUMN freshet.version_history.learned_total IS 'Events learned in the lineage up to here.';
COMMENT ON COLUMN freshet.version_history.newest_event_at IS 'The largest Kafka timestamp of the events up to here; null before the first.';
COMMENT ON COLUMN freshet.version_history.freshness_ms IS 'How old that event was when the version was recorded, in milliseconds.';
COMMENT ON COLUMN freshet.version_history.logloss IS 'Mean logistic loss of the window that ended here, in nats; progressive: each event was predicted before it was learned.';
COMMENT ON COLUMN freshet.version_history.loss IS 'Mean loss of the window, of losses other than logistic and softmax.';
COMMENT ON COLUMN freshet.version_history.published_at IS 'When it was first sent to the serving nodes; null if it was not.';
COMMENT ON COLUMN freshet.version_history.decision IS 'What was decided of it last: publish, hold or canary; null where nobody decided.';
COMMENT ON COLUMN freshet.version_history.drift_events IS 'Drift events on the events that it learned.';

CREATE VIEW freshet.metric_history AS
SELECT v.pipeline, v.version, v.lineage, v.created_at, s.stretch, (m->>'events')::bigint AS events,
    (m->>'logloss')::double precision AS logloss, (m->>'loss')::double precision AS loss, (m->>'accuracy')::double precision AS accuracy,
    (m->>'precision')::double precision AS precision, (m->>'recall')::double precision AS recall, (m->>'f1')::double precision AS f1,
    (m->>'auc')::double precision AS auc, (m->>'auc_error')::double precision AS auc_error, (m->>'mae')::double precision AS mae,
    (m->>'rmse')::double precision AS rmse, (m->>'coverage')::double precision AS coverage,
    (m->>'mean_prediction')::double precision AS mean_prediction, (m->>'mean_label')::double precision AS mean_label,
    (m->>'calibration_error')::double precision AS calibration_error
FROM freshet.versions v
CROSS JOIN LATERAL (VALUES
    ('window', v.metrics->'window'), ('total', v.metrics->'total'), ('reference', v.metrics->'reference'->'window')) AS s (stretch, m)
WHERE m IS NOT NULL;
COMMENT ON VIEW freshet.metric_history IS 'The progressive figures of each version, up to three rows: those of the window that ended at it, those since the start of the lineage, and those of the window that it is compared with. What a task does not have is null.';
COMMENT ON COLUMN freshet.metric_history.stretch IS 'window, total or reference.';
COMMENT ON COLUMN freshet.metric_history.events IS 'The events that the figures are over.';
COMMENT ON COLUMN freshet.metric_history.auc_error IS 'The exact area under the curve is within auc plus or minus this.';
COMMENT ON COLUMN freshet.metric_history.coverage IS 'The share of labels at or below the predicted quantile.';

CREATE VIEW freshet.drift_history AS
SELECT d.pipeline, d.version, d.recorded_at, d.kind, d.detector, d.statistic, d.threshold, d.partition, d."offset", d.error_before, d.error_after, d.events_before, d.events_after,
    coalesce(d.before->>'loss', d.before->>'logloss')::double precision AS loss_before,
    coalesce(d.after->>'loss', d.after->>'logloss')::double precision AS loss_after,
    (d.before->>'auc')::double precision AS auc_before, (d.after->>'auc')::double precision AS auc_after,
    (d.reference->>'version')::bigint AS reference_version,
    coalesce(d.reference->'window'->>'loss', d.reference->'window'->>'logloss')::double precision AS reference_loss,
    d.features, d.slices, d.actions, d.noticed_at
FROM freshet.drift_events d;
COMMENT ON VIEW freshet.drift_history IS 'One row a warning, a drift, a recovery or a challenger''s end: which detector found it, on which event, the figures on both sides, what moved most, and what was done.';
COMMENT ON COLUMN freshet.drift_history.kind IS 'warning, drift, recovery or challenger.';
COMMENT ON COLUMN freshet.drift_history.features IS 'The fields whose values have moved most, an array by effect.';
COMMENT ON COLUMN freshet.drift_history.slices IS 'The slices whose error has moved most, an array.';
COMMENT ON COLUMN freshet.drift_history.actions IS 'What on_drift did about it, an array.';
COMMENT ON COLUMN freshet.drift_history.version IS 'The first version that has learned that event.';
COMMENT ON COLUMN freshet.drift_history."offset" IS 'With the partition: the event on which the detector fired.';
COMMENT ON COLUMN freshet.drift_history.error_before IS 'Mean absolute error before the change, by the detector.';
COMMENT ON COLUMN freshet.drift_history.loss_before IS 'Mean loss of the last full window of events that ended before the alarm.';
COMMENT ON COLUMN freshet.drift_history.loss_after IS 'Mean loss of the newest window at the alarm.';
COMMENT ON COLUMN freshet.drift_history.reference_version IS 'The version whose window the monitor compared with.';

CREATE VIEW freshet.node_history AS
SELECT s.pipeline, s.node, s.version, s.publication, s.swapped_at,
    lead(s.swapped_at) OVER (PARTITION BY s.pipeline, s.node ORDER BY s.swapped_at) AS served_until, s.swap_microseconds,
    v.created_at AS version_created_at
FROM freshet.node_swaps s JOIN freshet.versions v USING (pipeline, version);
COMMENT ON VIEW freshet.node_history IS 'What each serving node has served, and from when to when.';
COMMENT ON COLUMN freshet.node_history.swapped_at IS 'By the node''s clock.';
COMMENT ON COLUMN freshet.node_history.served_until IS 'Its next swap; null while it serves this, and for a node that is gone: freshet.nodes.reported_at says when it last reported.';
