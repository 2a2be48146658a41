// The tables of the page, and the page of one version.

import { h, count, fixed, signed, share, probability, duration, time, none, isNumber, metricNames, verdict, table, versionLink } from "./format.js";
import { bar } from "./plot.js";

const pageRows = 15, featuresMax = 40;

/// A list in pages, newest first, under a section's heading.
/// - load: asked with {limit, before}, answers {rows, next}.
/// - render: makes the table of the rows.
export function pages(section, what, load, render) {
  const body = h("div"), older = button("Older", () => go(1)), newer = button("Newer", () => go(-1)), newest = button("Newest", () => go(0));
  section.append(body, h("div", { class: "bar", role: "group", "aria-label": `Pages of ${what}` }, newest, newer, older));
  let befores = [null], next = null, turn = 0;

  function button(title, action) {
    return h("button", { type: "button", click: (event) => { if (event.currentTarget.getAttribute("aria-disabled") !== "true") action(); } }, title);
  }
  function go(step) {
    if (step > 0) befores.push(next);
    else if (step < 0) befores.pop();
    else befores = [null];
    return show();
  }
  async function show() {
    const mine = ++turn;
    let content;
    try {
      const page = await load({ limit: pageRows, before: befores.at(-1) });
      if (mine !== turn) return;
      next = page.next;
      content = page.rows.length ? render(page.rows) : h("p", { class: "muted" }, befores.length > 1 ? "none before these" : `no ${what}`);
    } catch (trouble) {
      if (mine !== turn) return;
      content = troubleText(trouble);
    }
    body.replaceChildren(content);
    // Not `disabled`: the focus would be lost at the last page.
    older.setAttribute("aria-disabled", next === null || next === undefined);
    for (const button of [newer, newest]) button.setAttribute("aria-disabled", befores.length === 1);
    older.parentElement.hidden = befores.length === 1 && (next === null || next === undefined);
  }
  /// Asks again, if the newest page is shown and nobody is in it.
  return { show, refresh: () => (befores.length === 1 && !body.contains(document.activeElement) ? show() : undefined) };
}

export const troubleText = (trouble) => h("p", { class: "bad" }, trouble.message, trouble.remedy ? `: ${trouble.remedy}` : null);

const objective = (report) => report?.loss ?? report?.logloss;
const change = (before, after, text = fixed) => (isNumber(before) || isNumber(after) ? `${text(before)} → ${text(after)}` : none);
const kindOf = (event) => event.kind ?? "drift";

/// - choose: called with an event whose features are to be shown; null where there is no place for them.
export function driftTable(events, choose) {
  const tells = (event) => event.features?.length || event.slices?.length;
  return table("Drift events, newest first", [
    { title: "Recorded", head: true, cell: (event) => time(event.recorded_at) },
    { title: "What", cell: (event) => h("span", { class: `kind ${kindOf(event)}` }, kindOf(event)) },
    { title: "Detector", cell: (event) => event.detector },
    { title: "Version", number: true, cell: (event) => versionLink(event.version) },
    ...(choose && events.some(tells) ? [{ title: "Moved", cell: (event) => (tells(event) ? h("button", { type: "button", click: () => choose(event) }, "features") : none) }] : []),
    ...(events.some((event) => isNumber(event.statistic)) ? [{ title: "Statistic (threshold)", number: true, cell: (event) => figure(event.statistic) + (isNumber(event.threshold) ? ` (${figure(event.threshold)})` : "") }] : []),
    // A warning or a recovery has none.
    { title: "Error", number: true, cell: (event) => (event.events_before + event.events_after > 0 ? change(event.error_before, event.error_after) : none) },
    { title: "Loss", number: true, cell: (event) => change(objective(event.before), objective(event.after)) },
    ...(events.some((event) => event.actions?.length) ? [{ title: "Actions", wrap: true, cell: (event) => event.actions?.join(", ").replaceAll("_", " ") || none }] : []),
    { title: "Event", number: true, cell: (event) => (isNumber(event.partition) ? `${event.partition} @ ${count(event.offset)}` : none) },
  ], events);
}

const featureTitles = { psi: "PSI", ks: "KS", chi_square: "χ²" };
const featureKeys = new Set([...Object.keys(featureTitles), "effect", "p_value", "missing_before", "missing_after", "mean_before", "mean_after", "unseen"]);

/// Which features moved, in the order that the API gives: of effect.
export function featureTable(all) {
  const features = all.slice(0, featuresMax);
  const has = (key) => features.some((feature) => isNumber(feature[key]));
  const more = all.length > featuresMax ? ` (${featuresMax} of ${all.length})` : "";
  return table(`Features, the most moved first${more}: the window after against the one before`, [
    { title: "Field", head: true, cell: (feature) => feature.field },
    { title: "Effect", cell: (feature) => h("span", { class: "nowrap" }, bar(feature.effect ?? 0), " ", fixed(feature.effect, 3)) },
    ...Object.keys(featureTitles).filter(has).map((key) => ({ title: featureTitles[key], number: true, cell: (feature) => fixed(feature[key], key === "chi_square" ? 1 : 3) })),
    { title: "p", number: true, cell: (feature) => probability(feature.p_value) },
    { title: "Missing", number: true, cell: (feature) => change(feature.missing_before, feature.missing_after, share) },
    ...(has("unseen") ? [{ title: "Unseen", number: true, cell: (feature) => share(feature.unseen) }] : []),
    ...(has("mean_before") ? [{ title: "Mean", number: true, cell: (feature) => change(feature.mean_before, feature.mean_after, figure) }] : []),
    ...otherColumns(features, featureKeys),
  ], features);
}

/// A number of any size.
const figure = (value) => (isNumber(value) ? String(Number(value.toPrecision(4))) : none);

/// Slices: a field, its value, and whatever figures there are.
export const sliceTable = (slices) =>
  table("Slices: metrics by the values of a field", [
    { title: "Field", head: true, cell: (slice) => slice.field },
    { title: "Value", cell: (slice) => h("div", { class: "name" }, String(slice.value ?? none)) },
    { title: "Events", number: true, cell: (slice) => count(slice.events) },
    { title: "Error", number: true, cell: (slice) => change(slice.error_before, slice.error_after) },
    ...otherColumns(slices, new Set(["events", "error_before", "error_after"])),
  ], slices);

/// Columns of the numbers that only some pipelines have, named by their keys.
function otherColumns(rows, known) {
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row).filter((key) => isNumber(row[key]) && !known.has(key))))];
  return keys.map((key) => ({ title: key[0].toUpperCase() + key.slice(1).replaceAll("_", " "), number: true, cell: (row) => (Number.isInteger(row[key]) ? count(row[key]) : fixed(row[key])) }));
}

/// A drift event's features and slices, with which event it was.
export function movedView(event) {
  return h("div", null,
    h("h3", null, `What moved: ${kindOf(event)} by ${event.detector}, version `, versionLink(event.version)),
    h("div", { class: "moved" },
      event.features?.length ? featureTable(event.features) : null,
      event.slices?.length ? sliceTable(event.slices) : null));
}

/// The kind of mark that a decision is on the timeline: gate, canary or operator; null for those that say only that all is well.
export function decisionKind(decision) {
  if (decision.by === "gate") return decision.decision === "hold" ? "gate" : null;
  return decision.by === "canary" ? "canary" : "operator";
}

const decisionName = (decision) => (decision.decision === "hold" ? "held" : decision.decision === "canary" ? "on trial" : "published");

export const decisionText = (decision) =>
  `${decisionName(decision)} by ${decision.by}${decision.rule ? `: ${decision.rule.replaceAll("_", " ")}` : ""}`;

export const decisionTable = (decisions) =>
  table("Decisions, newest first", [
    { title: "Decided", head: true, cell: (decision) => time(decision.decided_at) },
    // Those of one version do not say which.
    ...(decisions.some((decision) => isNumber(decision.version)) ? [{ title: "Version", number: true, cell: (decision) => versionLink(decision.version) }] : []),
    { title: "What", cell: (decision) => h("span", { class: `kind ${decision.decision}` }, decisionName(decision)) },
    { title: "By", cell: (decision) => decision.by },
    { title: "Rule", cell: (decision) => decision.rule?.replaceAll("_", " ") },
    { title: "Loss, served → this", number: true, cell: (decision) => change(objective(decision.served), objective(decision.candidate)) },
    { title: "Reason", wrap: true, cell: (decision) => decision.reason },
  ], decisions);

export function nodeTable(nodes) {
  if (!nodes.length) return h("p", { class: "muted" }, "no node has reported yet: start one with freshet serve");
  return table("What each node serves", [
    { title: "Node", head: true, cell: (node) => node.node },
    { title: "State", cell: (node) => h("span", { class: `kind ${node.state}` }, { ok: "ok", stale: "stale", silent: "silent" }[node.state] ?? node.state) },
    { title: "Version", number: true, cell: (node) => versionLink(node.version) },
    { title: "Behind", number: true, cell: (node) => count(node.versions_behind) },
    { title: "Reported", number: true, cell: (node) => `${duration(node.reported_ago_s)} ago` },
    { title: "Swap", number: true, cell: (node) => duration(node.swap_us / 1e6) },
    { title: "Swaps", number: true, cell: (node) => count(node.swaps) },
    { title: "Address", cell: (node) => node.address },
  ], nodes, (node) => (node.state === "ok" ? null : "stands-out"));
}

function marksOf(version) {
  const decision = { decision: version.decision, by: version.decided_by, rule: version.rule };
  return [
    version.drift_events > 0 ? h("span", { class: "kind drift" }, "drift") : null,
    version.decision && decisionKind(decision) ? h("span", { class: `kind ${version.decision}` }, decisionText(decision)) : null,
    version.snapshot ? h("span", { class: "kind" }, "snapshot") : null,
    version.parent + 1 === version.version ? null : h("span", { class: "kind" }, `lineage ${version.lineage}, after ${version.parent}`),
  ];
}

export function versionTable(versions) {
  const windows = versions.map((version) => version.metrics?.window ?? {});
  const metrics = ["logloss", "loss", "auc", "accuracy", "mae"].filter((metric) => windows.some((window) => isNumber(window[metric]))).slice(0, 3);
  return table("Versions, newest first", [
    { title: "Version", head: true, number: true, cell: (version) => versionLink(version.version) },
    { title: "Created", cell: (version) => time(version.created_at) },
    { title: "Learned", number: true, cell: (version) => count(version.learned) },
    { title: "Refused", number: true, cell: (version) => count(version.refused) },
    ...metrics.map((metric) => ({ title: metricNames[metric], number: true, cell: (version) => fixed(version.metrics?.window?.[metric]) })),
    { title: "Marks", wrap: true, cell: marksOf },
  ], versions);
}

// MARK: One version

const metricsOf = (...reports) => Object.keys(metricNames).filter((metric) => reports.some((report) => isNumber(report?.[metric])));

function metricsTable(detail) {
  const { window, reference, total } = detail.metrics;
  const columns = [["Window", window], [reference ? `Reference (version ${reference.version})` : "Reference", reference?.window], ["Since the start", total]].filter(([, report]) => report);
  const rows = [{ title: "events", text: (report) => count(report.events) },
    ...metricsOf(window, reference?.window, total).map((metric) => ({ title: metricNames[metric], text: (report) => fixed(report[metric]) }))];
  return table("Metrics, progressive: scored before learned", [
    { title: "", head: true, cell: (row) => row.title },
    ...columns.map(([title, report]) => ({ title, number: true, cell: (row) => row.text(report) }))], rows);
}

const stretches = { window: "window", total: "since the start" };

function differenceTable({ from, to, metrics }) {
  return table(`Version ${to.version} against version ${from.version}`, [
    { title: "", head: true, cell: (row) => `${metricNames[row.metric] ?? row.metric}, ${stretches[row.stretch] ?? row.stretch}` },
    { title: `Version ${from.version}`, number: true, cell: (row) => fixed(row.from) },
    { title: `Version ${to.version}`, number: true, cell: (row) => fixed(row.to) },
    { title: "Change", number: true, cell: (row) => signed(row.change, 5) },
    { title: "", cell: (row) => h("span", { class: verdict(row.metric, row.change) }, verdict(row.metric, row.change)) },
  ], metrics);
}

function differenceView(difference) {
  const { from, to, descends, common_version: common, learned, definition_changed: changed, commands, commands_total, drift_total } = difference;
  const more = (total, one, many) => `${count(total)} ${total === 1 ? one : many} between`;
  return [
    h("p", { class: "muted" },
      descends ? `${count(learned)} events learned, ${more(commands_total, "command", "commands")}, ${more(drift_total, "drift event", "drift events")}. `
        : `Version ${to.version} does not descend from version ${from.version}; they have ${common > 0 ? `version ${common}` : "nothing"} in common. `,
      changed ? "Their definitions differ." : "Both have the same definition."),
    commands?.length ? h("ul", null, commands.map(({ version, ...command }) => h("li", null, versionLink(version), `: ${commandText(command)}`))) : null,
    differenceTable(difference)];
}

/// The commands' own words are keys and values. The figures of a reference are in the table of metrics.
const commandText = ({ kind, window, ...rest }) => `${kind} ${words(rest)}`;
const words = (value) =>
  Array.isArray(value) ? value.map(words).join("; ")
    : value !== null && typeof value === "object" ? Object.entries(value).map(([key, one]) => `${key} ${words(one)}`).join(", ") : String(value);

const section = (title, ...content) => h("section", null, h("h2", null, title), content);
const facts = (pairs) => h("dl", null, pairs.filter(Boolean).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));

function runsView(runs) {
  const partitions = new Set(runs.map((run) => run.partition)).size;
  if (!runs.length) return h("p", { class: "muted" }, "no runs");
  return h("details", null, h("summary", null, `${count(runs.length)} runs of ${partitions} ${partitions === 1 ? "partition" : "partitions"}`),
    table("Runs, in the order in which they were learned", ["partition", "first", "next", "learned", "refused"].map((key, index) => ({
      title: key, head: index === 0, number: true, cell: (run) => count(run[key]) })), runs));
}

/// - other: the version that it is compared with; null where there is none.
/// - difference: between the two, or the trouble that came instead of it.
export function versionView(detail, other, difference, newest) {
  const number = detail.version;
  const with_ = h("input", { id: "compare", type: "number", min: 1, step: 1, value: other ?? "", required: true });
  return [
    h("nav", { class: "bar", "aria-label": "Versions" }, h("a", { href: "#/" }, "All versions"),
      number > 1 ? versionLink(number - 1, "← before") : null, number < newest ? versionLink(number + 1, "after →") : null),
    h("h1", null, `Version ${number}`),
    h("p", null, marksOf(detail)),
    facts([
      ["created", [time(detail.created_at), ` under epoch ${detail.epoch}`]],
      ["parent", [detail.parent > 0 ? versionLink(detail.parent) : "none", `, lineage ${detail.lineage}`]],
      ["learned", `${count(detail.learned)} events, ${count(detail.refused)} refused`],
      ["published", isNumber(detail.publication) ? `as publication ${detail.publication}` : "no"],
      ["snapshot", detail.snapshot ? "yes" : "no"],
      ["image hash", h("code", null, detail.image_hash)],
      ["definition", [h("code", null, detail.learning_hash.slice(0, 12)), `, semantics ${detail.semantics}`]],
      detail.metrics.quantization ? ["quantization gap", `mean ${fixed(detail.metrics.quantization.mean, 5)}, p99 ${fixed(detail.metrics.quantization.p99, 5)}`] : null,
    ]),
    h("div", { class: "columns" },
      h("div", null, section("Metrics", metricsTable(detail)),
        section("Runs", runsView(detail.runs)),
        section("Commands", detail.commands.length ? h("ul", null, detail.commands.map((command) => h("li", null, commandText(command)))) : h("p", { class: "muted" }, "none"))),
      h("div", null, section("Difference",
        h("form", { class: "bar", submit: (event) => { event.preventDefault(); location.hash = `#/versions/${number}/with/${with_.value}`; } },
          h("label", null, "with version ", with_), h("button", null, "Compare")),
        difference instanceof Error ? troubleText(difference) : difference ? differenceView(difference) : h("p", { class: "muted" }, "it has no parent to compare it with")))),
    section("Decisions", detail.decisions.length ? decisionTable(detail.decisions) : h("p", { class: "muted" }, "nobody decided anything of it")),
    section("Drift", detail.drift.length ? [driftTable(detail.drift), detail.drift.filter((event) => event.features?.length || event.slices?.length).map(movedView)]
      : h("p", { class: "muted" }, "no detector fired in it")),
  ];
}
