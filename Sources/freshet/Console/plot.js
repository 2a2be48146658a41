// Plots as SVG, drawn at the size that they have, so that text keeps its own.

import { h, isNumber, fixed, count, moment, clock, day } from "./format.js";

/// Steps of 1, 2 or 5 times a power of ten: about `wanted` of them between two values.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const result = [];
  for (let index = Math.ceil(low / step); index * step <= high; index++) result.push(index * step);
  return { values: result, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

const timeSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000].map((s) => s * 1000);

function timeTicks(low, high, wanted) {
  const step = timeSteps.find((step) => step >= (high - low) / wanted) ?? timeSteps.at(-1);
  const zone = new Date(high).getTimezoneOffset() * 60000;
  const result = [];
  for (let at = Math.ceil((low - zone) / step) * step + zone; at <= high; at += step) result.push(at);
  const label = (at) => (step >= 86400000 ? day(new Date(at)).slice(5) : clock(new Date(at), step < 60000));
  return result.map((at) => ({ at, label: label(at) }));
}

/// The path of a line; it breaks where there is no value, or nothing for a long time.
function linePath(points, x, y) {
  const steps = points.slice(1).map((point, index) => point.t - points[index].t).sort((a, b) => a - b);
  const gap = 10 * (steps[Math.floor(steps.length / 2)] ?? Infinity) + 5000;
  let path = "", last = null;
  for (const point of points) {
    if (!isNumber(point.value)) { last = null; continue; }
    path += `${last === null || point.t - last > gap ? "M" : "L"}${x(point.t).toFixed(1)} ${y(point.value).toFixed(1)}`;
    last = point.t;
  }
  return path;
}

function extent(points) {
  const values = points.map((point) => point.value).filter(isNumber);
  if (!values.length) return null;
  let low = Math.min(...values), high = Math.max(...values);
  // A flat line is drawn in the middle.
  const room = high > low ? (high - low) * 0.06 : Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

/// A small line without axes. Points: {t, value}. Decoration: the figure beside it says what matters.
export function sparkline(points, width = 120, height = 28) {
  const range = extent(points);
  const drawn = points.filter((point) => isNumber(point.value));
  if (!range || drawn.length < 2) return h("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const first = points[0].t, span = points.at(-1).t - first || 1;
  const x = (t) => ((t - first) / span) * (width - 4) + 1;
  const y = (value) => height - 2 - ((value - range[0]) / (range[1] - range[0])) * (height - 4);
  return h("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    h("path", { d: linePath(points, x, y), "vector-effect": "non-scaling-stroke" }));
}

/// A bar for a value between 0 and 1.
export const bar = (value) =>
  h("svg", { class: "effect", viewBox: "0 0 60 8", "aria-hidden": "true" },
    h("rect", { class: "track", width: 60, height: 8 }), h("rect", { width: Math.max(0, Math.min(1, value)) * 60, height: 8 }));

/// The kinds of marks: each has a lane and a shape of its own, so none is known by its colour alone.
export const lanes = [
  { kind: "drift", title: "drift", path: "M0-5L5 4H-5Z" },
  { kind: "gate", title: "held", path: "M-4-4H4V4H-4Z" },
  { kind: "canary", title: "canary", path: "M0-5L5 0L0 5L-5 0Z" },
  { kind: "operator", title: "operator", path: "M0-4.5A4.5 4.5 0 1 0 .01-4.5Z" },
];

const margin = { left: 64, right: 14, top: 10, axis: 22 }, plotHeight = 190, laneHeight = 18;

/// A plot of one figure over time with lanes of marks below, and a cursor that mouse, touch and keys move.
export class Timeline {
  /// - open: called with the version that was chosen.
  constructor(container, open) {
    this.open = open;
    this.points = [];
    this.marks = [];
    this.cursor = null;
    this.tip = h("div", { class: "tip", hidden: true });
    this.frame = h("div", { class: "plot", tabindex: 0, role: "slider", "aria-label": "Cursor of the timeline", "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0,
      keydown: (event) => this.key(event), focus: () => this.point(this.cursor ?? this.points.length - 1), blur: () => this.hide(),
      pointermove: (event) => this.pointer(event), pointerdown: (event) => this.pointer(event), pointerleave: () => this.leave(), click: (event) => this.click(event) });
    this.note = h("p", { class: "muted" });
    container.append(h("div", { class: "plot-frame" }, this.frame, this.tip), this.note);
    this.width = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width && width !== this.width) { this.width = width; this.draw(); }
    }).observe(this.frame);
  }

  /// Points: {t, value, version, ...}, oldest first. Marks: {t, kind, version, text}.
  show(title, points, marks, note) {
    const version = this.cursor === null ? null : this.points[this.cursor]?.version;
    Object.assign(this, { title, points, marks: marks.sort((a, b) => a.t - b.t) });
    this.note.textContent = note;
    const kept = points.findIndex((point) => point.version >= version);
    this.cursor = version === null || kept < 0 ? null : kept;
    this.draw();
  }

  draw() {
    const { points, width } = this, range = extent(points);
    this.frame.setAttribute("aria-valuemax", Math.max(0, points.length - 1));
    this.frame.setAttribute("aria-disabled", range ? "false" : "true");
    if (!width) return;
    if (!range) {
      this.x = null;
      this.hide();
      this.describe();
      return this.frame.replaceChildren();
    }
    const used = lanes.filter((lane) => this.marks.some((mark) => mark.kind === lane.kind));
    const bottom = margin.top + plotHeight, height = bottom + used.length * laneHeight + margin.axis;
    let first = points[0].t, last = points.at(-1).t;
    if (first === last) { first -= 1000; last += 1000; }
    const x = (t) => margin.left + (Math.max(first, Math.min(last, t)) - first) / (last - first) * (width - margin.left - margin.right);
    const y = (value) => bottom - (value - range[0]) / (range[1] - range[0]) * plotHeight;
    this.x = x;
    this.y = y;
    const vertical = ticks(range[0], range[1], 5);
    const parts = vertical.values.flatMap((value) => [
      h("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }),
      h("text", { x: margin.left - 6, y: y(value) + 4, "text-anchor": "end" }, Math.abs(value) >= 1000 ? count(value) : fixed(value, vertical.digits))]);
    for (const { at, label } of timeTicks(first, last, Math.max(2, width / 90))) {
      parts.push(h("line", { class: "grid", x1: x(at), x2: x(at), y1: bottom, y2: height - margin.axis + 4 }),
        h("text", { x: x(at), y: height - 5, "text-anchor": "middle" }, label));
    }
    parts.push(h("line", { class: "axis", x1: margin.left, x2: width - margin.right, y1: bottom, y2: bottom }),
      h("path", { class: "line", d: linePath(points, x, y) }));
    const only = points.filter((point) => isNumber(point.value));
    if (only.length === 1) parts.push(h("circle", { class: "dot", cx: x(only[0].t), cy: y(only[0].value), r: 3 }));
    this.groups = [];
    used.forEach((lane, row) => {
      const level = bottom + (row + 0.5) * laneHeight + 3;
      parts.push(h("text", { x: margin.left - 6, y: level + 4, "text-anchor": "end" }, lane.title));
      for (const group of this.grouped(lane.kind)) {
        if (lane.kind === "drift" && !group.soft) parts.push(h("line", { class: "drift-line", x1: group.x, x2: group.x, y1: margin.top, y2: level }));
        if (group.toX - group.x > 8) parts.push(h("line", { class: `stretch ${lane.kind}`, x1: group.x, x2: group.toX, y1: level, y2: level }));
        parts.push(h("path", { class: `mark ${lane.kind}${group.soft ? " soft" : ""}`, d: lane.path, transform: `translate(${group.x.toFixed(1)} ${level})` }));
        this.groups.push(group);
      }
    });
    this.needle = h("line", { class: "needle", y1: margin.top, y2: height - margin.axis, visibility: "hidden" });
    this.dot = h("circle", { class: "dot", r: 3.5, visibility: "hidden" });
    this.frame.replaceChildren(h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, parts, this.needle, this.dot));
    if (this.cursor !== null && !this.tip.hidden) this.point(this.cursor); else this.describe();
  }

  /// Marks of one kind that would lie on one another, or follow one another with the same rule, are one.
  grouped(kind) {
    const groups = [];
    for (const mark of this.marks.filter((mark) => mark.kind === kind)) {
      const at = this.x(mark.t), last = groups.at(-1);
      if (last && at - last.toX < 9 && mark.soft === last.soft) { last.marks.push(mark); last.toX = at; }
      else groups.push({ x: at, toX: at, kind, soft: mark.soft, marks: [mark] });
    }
    return groups;
  }

  /// What is marked within a few pixels of a point.
  near(point) {
    if (!this.x) return [];
    const at = this.x(point.t);
    return (this.groups ?? []).filter((group) => at >= group.x - 6 && at <= group.toX + 6);
  }

  describe() {
    const point = this.points[this.cursor ?? this.points.length - 1];
    this.frame.setAttribute("aria-valuenow", this.cursor ?? Math.max(0, this.points.length - 1));
    this.frame.setAttribute("aria-valuetext", point ? this.lines(point).join(", ") : "no versions here");
  }

  /// What the tip says of a point; its first line is the version that would be opened.
  lines(point) {
    const target = this.target(point);
    const marks = this.near(point).flatMap(({ marks }) =>
      marks.length > 2 ? [`${marks[0].text}, and ${marks.length - 1} more up to version ${marks.at(-1).version}`] : marks.map((mark) => mark.text));
    const figure = `${this.title} ${isNumber(point.value) ? point.text : "unknown"}` + (target === point.version ? "" : ` at version ${point.version}`);
    return [`version ${target}`, moment(new Date(point.t).toISOString()), figure, ...marks];
  }

  /// Puts the cursor on a point.
  point(index) {
    const point = this.points[index];
    if (!point || !this.x) return;
    this.cursor = index;
    const at = this.x(point.t);
    for (const name of ["x1", "x2"]) this.needle.setAttribute(name, at);
    this.needle.setAttribute("visibility", "visible");
    this.dot.setAttribute("visibility", isNumber(point.value) ? "visible" : "hidden");
    if (isNumber(point.value)) { this.dot.setAttribute("cx", at); this.dot.setAttribute("cy", this.y(point.value)); }
    const [version, ...rest] = this.lines(point);
    this.tip.replaceChildren(h("a", { href: `#/versions/${this.target(point)}`, tabindex: -1 }, version), ...rest.map((line) => h("div", null, line)));
    this.tip.hidden = false;
    const room = this.width - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(room, at < this.width / 2 ? at + 12 : at - 12 - this.tip.offsetWidth))}px`;
    this.describe();
  }

  hide() {
    this.tip.hidden = true;
    for (const part of [this.needle, this.dot]) part?.setAttribute("visibility", "hidden");
  }

  leave() { if (document.activeElement !== this.frame) this.hide(); }

  pointer(event) {
    if (!this.x) return;
    const at = event.clientX - this.frame.getBoundingClientRect().left;
    let best = -1, distance = Infinity;
    this.points.forEach((point, index) => {
      const away = Math.abs(this.x(point.t) - at);
      if (away < distance) [best, distance] = [index, away];
    });
    this.point(best);
  }

  // A finger has no other way to ask for the tip: there, the tip's link opens the version.
  click(event) { if (event.pointerType !== "touch" && this.cursor !== null) this.open(this.target(this.points[this.cursor])); }

  /// The version to open from a point: that of a mark if there is one.
  target(point) { return this.near(point)[0]?.marks[0].version ?? point.version; }

  key(event) {
    const end = this.points.length - 1, now = this.cursor ?? end;
    const steps = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: end,
      PageUp: this.nextMark(now, -1), PageDown: this.nextMark(now, 1) };
    if (event.key in steps) this.point(Math.max(0, Math.min(end, steps[event.key])));
    else if (event.key === "Enter" && this.points[now]) { this.cursor = now; this.open(this.target(this.points[this.cursor])); }
    else if (event.key === "Escape") this.hide();
    else return;
    event.preventDefault();
  }

  /// The point beside the next mark in a direction.
  nextMark(from, direction) {
    const marked = (this.groups ?? []).map(({ marks }) => this.points.findIndex((point) => point.t >= marks[0].t)).filter((index) => index >= 0).sort((a, b) => a - b);
    return (direction > 0 ? marked.find((index) => index > from) : marked.findLast((index) => index < from)) ?? from;
  }
}
