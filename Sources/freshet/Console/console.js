// The page: which pipeline and version are shown, and what is drawn when.
//
// The pipeline is in the query (?pipeline=), the version behind the hash (#/versions/12, #/versions/12/with/10), so every view has an address.

import { h, count, moment, fixed, duration, signed, metricNames, none, isNumber } from "./format.js";
import { ask, follow, Trouble } from "./live.js";
import { Timeline, sparkline } from "./plot.js";
import { pages, driftTable, movedView, decisionTable, decisionKind, decisionText, nodeTable, versionTable, versionView, troubleText } from "./views.js";

const $ = (id) => document.getElementById(id);
const sparkMilliseconds = 10 * 60000, marksMax = 200, pointsMax = 300, tablesMilliseconds = 5000, quietMilliseconds = 15000;
const ranges = [[300, "5 minutes"], [3600, "the last hour"], [21600, "6 hours"], [86400, "a day"], [604800, "a week"], [2592000, "30 days"], [0, "all time"]];
const plotted = ["logloss", "loss", "auc", "accuracy", "calibration_error", "freshness_ms", "events_per_s"];
const plottedNames = { ...metricNames, freshness_ms: "freshness (s)", events_per_s: "events/s", logloss: "logloss (nats)" };

let pipeline = null, state = null, arrived = 0, path = "";

// MARK: Trouble and status

let troubled = null;
function onTrouble(trouble) {
  if (troubled?.message === trouble?.message && !trouble === !troubled) return;
  // What was asked meanwhile has no answer.
  if (!trouble && state) for (const list of Object.values(lists)) list.refresh();
  troubled = trouble;
  $("trouble").hidden = !trouble;
  $("trouble").replaceChildren(...(trouble ? [h("strong", null, trouble.message), trouble.remedy ? h("div", null, trouble.remedy) : ""] : []));
  onMode(mode);
}

let mode = "connecting";
function onMode(now) {
  mode = now;
  const text = troubled ? "away" : { live: "live", polling: "live, by polling", connecting: "connecting" }[now];
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = troubled ? "bad" : now;
}

// MARK: Live

const history = { rate: [], loss: [], quality: [], freshness: [] };

function remember(series, t, value) {
  const points = history[series];
  if (!isNumber(value) || (points.length && t <= points.at(-1).t)) return;
  points.push({ t, value });
  while (points[0].t < t - sparkMilliseconds) points.shift();
}

const lossOf = (report) => (isNumber(report?.loss) ? ["loss", report.loss] : ["logloss", report?.logloss]);
const qualityOf = (report) => ["auc", "accuracy", "mae"].map((metric) => [metric, report?.[metric]]).find(([, value]) => isNumber(value)) ?? ["auc", undefined];

const tiles = {};
function tile(id, title, value, below, points) {
  if (!tiles[id]) {
    tiles[id] = { title: h("h3"), value: h("p", { class: "figure" }), below: h("p", { class: "muted" }), spark: h("div") };
    $("tiles").append(h("div", { class: "tile", id: `tile-${id}` }, Object.values(tiles[id])));
  }
  const set = (part, text) => { if (tiles[id][part].textContent !== text) tiles[id][part].textContent = text; };
  set("title", title);
  set("value", value);
  set("below", below);
  if (points) tiles[id].spark.replaceChildren(sparkline(points));
}

function drawLive() {
  const { newest, counts, publishing } = state;
  const window = newest?.metrics.window, reference = newest?.metrics.reference?.window;
  const [loss, lossValue] = lossOf(window), [quality, qualityValue] = qualityOf(window);
  const against = (metric, value) => (isNumber(reference?.[metric]) && isNumber(value) ? `${signed(value - reference[metric])} to the reference` : window ? `over ${count(window.events)} events` : "no events yet");
  const refused = Object.values(newest?.metrics.refused ?? {}).reduce((sum, of) => sum + of, 0);
  const serving = state.nodes?.filter((node) => node.state === "ok").length;
  tile("rate", "Events learned a second", count(state.events_per_s), `${count(state.learned_total)} in all, ${count(refused)} refused`, history.rate);
  tile("loss", plottedNames[loss], fixed(lossValue), against(loss, lossValue), history.loss);
  tile("quality", metricNames[quality], fixed(qualityValue), against(quality, qualityValue), history.quality);
  drawAge();
  tile("lag", "Lag", count(state.lag_events), state.learning ? "events that are not learned yet" : "known while a learner runs");
  tile("version", "Version", count(state.newest_version), `lineage ${state.lineage ?? none}, ${count(counts.drift_events)} drift ${counts.drift_events === 1 ? "event" : "events"}`);
  tile("published", "Published version", count(state.published_version), state.nodes?.length ? `${serving} of ${state.nodes.length} nodes serve what they were sent` : "no nodes");
  $("summary").replaceChildren(...[
    state.newest_version === 0 ? "no versions yet: the first comes with the first events" : null,
    state.learning ? null : warning("no learner runs: nobody holds the lease"),
    publishing === "held" ? warning("an operator holds publishing") : null,
    publishing === "pinned" ? warning(`the nodes are pinned to version ${state.pinned_version}`) : null,
    state.gate_holding ? warning("the gate holds the newest version") : null,
    counts.waiting_requests > 0 ? warning(`${count(counts.waiting_requests)} of the operators' requests wait`) : null,
  ].filter(Boolean));
}

const warning = (text) => h("span", { class: "kind hold" }, text);

/// The age of the newest event goes on while nothing comes.
function drawAge() {
  if (!state) return;
  const age = isNumber(state.freshness_ms) ? Math.max(0, state.freshness_ms + performance.now() - arrived) / 1000 : null;
  tile("freshness", "Freshness", duration(age), "age of the newest event learned", history.freshness);
}

let drawnDrift, drawnVersion = -1, drawnTables = 0;
function onState(now) {
  const first = state === null;
  state = now;
  arrived = performance.now();
  if (state.newest) {
    const t = Date.parse(state.newest.created_at), window = state.newest.metrics.window;
    remember("rate", t, state.events_per_s);
    remember("loss", t, lossOf(window)[1]);
    remember("quality", t, qualityOf(window)[1]);
  }
  drawLive();
  drawNodes(state.nodes);
  if (first) {
    drawTimeline();
    remembered();
    for (const list of Object.values(lists)) list.show();
  } else if (state.newest_version !== drawnVersion && arrived - drawnTables > tablesMilliseconds) {
    drawnTables = arrived;
    lists.versions.refresh();
    lists.decisions.refresh();
  }
  drawnVersion = state.newest_version;
  if (!first && state.newest_drift !== drawnDrift) {
    $("news").textContent = `${count(state.counts.drift_events)} drift events, the newest at ${moment(new Date().toISOString())}`;
    lists.drift.refresh();
    drawTimeline();
  }
  drawnDrift = state.newest_drift;
}

function drawNodes(nodes) { $("nodes").lastElementChild.replaceChildren(nodeTable(nodes)); }

/// The stream is silent while nothing changes, but nodes report, and small lines may lack what only recorded versions say.
async function refresh() {
  if (!state || document.hidden) return;
  if (Date.parse(state.newest?.created_at) > (history.freshness.at(-1)?.t ?? 0)) remembered();
  if (performance.now() - arrived < quietMilliseconds) return;
  try { drawNodes((await ask(`${path}/nodes`)).nodes); } catch { /* The stream says what is wrong. */ }
}

/// Fills the small lines with what was before the page was opened.
async function remembered() {
  if (!state.newest) return;
  try {
    const { points } = await ask(`${path}/metrics`, { since: new Date(Date.parse(state.newest.created_at) - sparkMilliseconds).toISOString(), points: 120 });
    const before = { rate: [], loss: [], quality: [], freshness: [] };
    for (const point of withRates(points)) {
      const t = Date.parse(point.created_at);
      for (const [series, value] of [["rate", point.events_per_s], ["loss", lossOf(point)[1]], ["quality", qualityOf(point)[1]], ["freshness", point.freshness_ms]]) {
        if (isNumber(value)) before[series].push({ t, value });
      }
    }
    for (const [series, points] of Object.entries(before)) {
      const newest = points.at(-1)?.t ?? 0;
      history[series] = [...points, ...history[series].filter((point) => point.t > newest)];
    }
    drawLive();
  } catch { /* The timeline asks the same, and says what is wrong. */ }
}

/// Points with the events learned a second since the one before.
const withRates = (points) =>
  points.map((point, index) => {
    const before = points[index - 1], seconds = before ? (Date.parse(point.created_at) - Date.parse(before.created_at)) / 1000 : 0;
    return { ...point, events_per_s: seconds > 0 ? Math.max(0, (point.learned_total - before.learned_total) / seconds) : undefined };
  });

// MARK: Timeline

let timeline, timelineTurn = 0, timelineTimer = null, lists;

async function drawTimeline() {
  clearTimeout(timelineTimer);
  const mine = ++timelineTurn, seconds = Number($("range").value), name = ranges.find(([length]) => length === seconds)[1];
  // Back from the newest version, not from now: a stream that has ended is still there to be seen.
  const since = seconds && state.newest ? new Date(Date.parse(state.newest.created_at) - seconds * 1000).toISOString() : null;
  let shown;
  try {
    const [{ points }, { drift }, { decisions }] = await Promise.all([
      ask(`${path}/metrics`, { since, points: pointsMax }),
      ask(`${path}/drift`, { since, limit: marksMax }),
      ask(`${path}/decisions`, { since, limit: marksMax, notable: true })]);
    if (mine !== timelineTurn) return;
    const rated = withRates(points).map((point) => ({ ...point, t: Date.parse(point.created_at) }));
    const metric = chooseMetric(rated);
    const scaled = (point) => (metric === "freshness_ms" && isNumber(point[metric]) ? point[metric] / 1000 : point[metric]);
    const text = (value) => (metric === "freshness_ms" ? duration(value) : metric === "events_per_s" ? count(value) : fixed(value));
    const marks = [
      ...drift.map((event) => ({ t: Date.parse(event.recorded_at), kind: "drift", soft: (event.kind ?? "drift") !== "drift", version: event.version, text: `${event.kind ?? "drift"}: ${event.detector}` })),
      ...decisions.filter(decisionKind).map((decision) => ({ t: Date.parse(decision.decided_at), kind: decisionKind(decision), soft: false, version: decision.version, text: decisionText(decision) })),
    ].filter((mark) => !rated.length || mark.t >= rated[0].t - 1000);
    const full = drift.length === marksMax || decisions.length === marksMax;
    shown = [plottedNames[metric], rated.map((point) => ({ t: point.t, version: point.version, value: scaled(point), text: text(scaled(point)) })), marks,
      rated.length ? `${rated.length === 1 ? "1 version" : `${count(rated.length)} of the versions`} in ${name} up to the newest${full ? `; only the newest ${marksMax} marks of a kind` : ""}. Arrow keys move the cursor, Page Up and Page Down go from mark to mark, Enter opens the version.`
        : `no versions in ${name}`];
  } catch (trouble) {
    if (mine !== timelineTurn) return;
    shown = [timeline.title, timeline.points, timeline.marks, `${trouble.message}; what is drawn is older`];
  }
  timeline.show(...shown);
  // As often as a new point would be seen.
  timelineTimer = setTimeout(function again() {
    if (document.hidden || !$("version").hidden || state.newest_version === timeline.points.at(-1)?.version) timelineTimer = setTimeout(again, tablesMilliseconds);
    else drawTimeline();
  }, Math.max(tablesMilliseconds, Math.min(60000, ((seconds || 86400) / pointsMax) * 1000)));
}

/// Keeps the chooser to the figures that there are; the one that is chosen.
function chooseMetric(points) {
  const there = plotted.filter((metric) => points.some((point) => isNumber(point[metric])));
  const names = there.length ? there : ["logloss"], before = $("metric").value;
  if ([...$("metric").options].map((option) => option.value).join() !== names.join()) {
    $("metric").replaceChildren(...names.map((metric) => h("option", { value: metric, selected: metric === before }, plottedNames[metric])));
  }
  return $("metric").value;
}

// MARK: Version

let versionTurn = 0;
async function route(change) {
  const [, number, other] = location.hash.match(/^#\/versions\/(\d+)(?:\/with\/(\d+))?$/) ?? [];
  const mine = ++versionTurn;
  $("overview").hidden = number !== undefined;
  $("version").hidden = number === undefined;
  document.title = `${number ? `version ${number} · ` : ""}${pipeline} · Freshet`;
  // Not when the page is opened: there the first stop is the link that skips to here.
  if (change) $("main").focus();
  if (!number) return;
  $("version").replaceChildren(h("p", { class: "muted" }, `version ${number} ...`));
  let content;
  try {
    const detail = await ask(`${path}/versions/${number}`);
    const with_ = other ?? (detail.parent > 0 ? detail.parent : null);
    const difference = with_ === null ? null : await ask(`${path}/diff`, { from: with_, to: number }).catch((trouble) => trouble);
    content = versionView(detail, with_, difference, state?.newest_version ?? Infinity);
  } catch (trouble) {
    content = [h("nav", { class: "bar" }, h("a", { href: "#/" }, "All versions")), h("h1", null, `Version ${number}`), troubleText(trouble)];
  }
  if (mine !== versionTurn) return;
  $("version").replaceChildren(...content.filter(Boolean));
}

// MARK: Start

function makeLists() {
  const moved = h("div", { "aria-live": "polite" });
  let chosen = null;
  const choose = (event) => {
    chosen = event ? `${event.recorded_at} ${event.detector}` : chosen;
    moved.replaceChildren(event ? movedView(event) : "");
  };
  const load = (what, more) => async (parameters) => {
    const answer = await ask(`${path}/${what}`, { ...parameters, ...more });
    return { rows: answer[what], next: answer.next };
  };
  lists = {
    drift: pages($("drift"), "drift events", load("drift"), (events) => {
      // What is chosen stays; else the newest that says what moved.
      if (!chosen) {
        const telling = events.find((event) => event.features?.length || event.slices?.length);
        moved.replaceChildren(telling ? movedView(telling) : h("p", { class: "muted" }, "none of these says which features moved"));
      }
      return driftTable(events, choose);
    }),
    decisions: pages($("decisions"), "decisions: nothing was held, tried or ordered", load("decisions", { notable: true }), (decisions) => decisionTable(decisions)),
    versions: pages($("versions"), "versions", load("versions"), versionTable),
  };
  $("drift").append(moved);
  $("nodes").append(h("div"));
}

async function start() {
  $("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
  let names;
  while (!names?.length) {
    try {
      names = (await ask("pipelines")).pipelines.map((one) => one.pipeline);
      onTrouble(names.length ? null : new Trouble("no pipeline has a history yet", "start its learner: freshet run PIPELINE"));
    } catch (trouble) { onTrouble(trouble); }
    if (!names?.length) await new Promise((done) => setTimeout(done, 2000));
  }
  const asked = new URLSearchParams(location.search).get("pipeline");
  pipeline = names.includes(asked) ? asked : names[0];
  path = `pipelines/${encodeURIComponent(pipeline)}`;
  $("pipelines").replaceChildren(...names.map((name) => h("option", { value: name, selected: name === pipeline }, name)));
  $("pipelines").addEventListener("change", (event) => { location.href = `?pipeline=${encodeURIComponent(event.target.value)}#/`; });
  $("range").replaceChildren(...ranges.map(([seconds, name]) => h("option", { value: seconds, selected: seconds === 3600 }, name)));
  timeline = new Timeline($("timeline"), (version) => { location.hash = `#/versions/${version}`; });
  for (const id of ["metric", "range"]) $(id).addEventListener("change", () => { if (state) drawTimeline(); });
  makeLists();
  addEventListener("hashchange", route);
  await route();
  follow(pipeline, { onState, onTrouble, onMode });
  setInterval(drawAge, 1000);
  setInterval(refresh, quietMilliseconds);
}

start();
