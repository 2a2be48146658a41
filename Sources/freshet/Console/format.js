// Text of figures and times, and elements. Data becomes text nodes and attributes only: nothing that the API says is ever parsed as HTML.

const svgNames = new Set(["svg", "path", "line", "rect", "circle", "text", "g"]);

/// An element: attributes that are null or false are left out, functions are listeners, children are nodes or text.
export function h(tag, attributes, ...children) {
  const element = svgNames.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const none = "–";
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
export const count = (value) => (isNumber(value) ? grouped.format(value) : none);
export const fixed = (value, digits = 4) => (isNumber(value) ? value.toFixed(digits) : none);
export const signed = (value, digits = 4) => (isNumber(value) ? (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(digits) : none);
export const share = (value) => (isNumber(value) ? (100 * value).toFixed(value > 0 && value < 0.001 ? 3 : 1) + " %" : none);

/// A probability: small ones by their power of ten.
export function probability(value) {
  if (!isNumber(value)) return none;
  if (value < 1e-16) return "< 1e-16";
  return value < 0.001 ? value.toExponential(1) : value.toFixed(3);
}

/// A length of time in two or three digits.
export function duration(seconds) {
  if (!isNumber(seconds)) return none;
  const magnitude = Math.abs(seconds);
  if (magnitude > 0 && magnitude < 0.0009995) return `${Math.round(seconds * 1e6)} µs`;
  if (magnitude < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (magnitude < 10) return `${seconds.toFixed(1)} s`;
  if (magnitude < 120) return `${Math.round(seconds)} s`;
  if (magnitude < 7200) return `${Math.round(seconds / 60)} min`;
  if (magnitude < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

const two = (value) => String(value).padStart(2, "0");
export const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
export const clock = (date, withSeconds = true) => `${two(date.getHours())}:${two(date.getMinutes())}` + (withSeconds ? `:${two(date.getSeconds())}` : "");

/// Local time, without the day if it is today's.
export function moment(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return String(iso ?? none);
  return (day(date) === day(new Date()) ? "" : day(date) + " ") + clock(date);
}

/// The same, with what the API said as its title.
export const time = (iso) => (iso ? h("time", { datetime: iso, title: iso }, moment(iso)) : none);

/// The names of figures as people write them.
export const metricNames = {
  logloss: "logloss", loss: "loss", accuracy: "accuracy", precision: "precision", recall: "recall", f1: "F1", auc: "AUC", mae: "MAE", rmse: "RMSE",
  coverage: "coverage", mean_prediction: "mean prediction", mean_label: "mean label", calibration_error: "calibration error",
};
const higherIsBetter = new Set(["accuracy", "precision", "recall", "f1", "auc"]);
const lowerIsBetter = new Set(["logloss", "loss", "mae", "rmse", "calibration_error"]);

/// Whether a change of a figure is for the better: "better", "worse" or "" where neither can be said, or the figures look the same.
export function verdict(metric, change) {
  if (!isNumber(change) || Math.abs(change) < 0.00005) return "";
  if (higherIsBetter.has(metric)) return change > 0 ? "better" : "worse";
  if (lowerIsBetter.has(metric)) return change < 0 ? "better" : "worse";
  return "";
}

/// A table that scrolls sideways where it must. Columns: {title, cell(row), number, head: the cell that names its row, wrap}.
export function table(caption, columns, rows, rowClass) {
  const cells = (row) =>
    columns.map((column) => {
      const content = column.cell(row);
      return h(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: column.number ? "number" : column.wrap ? "wrap" : null },
        column.head ? h("div", { class: "name" }, content ?? none) : content ?? none);
    });
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", null,
      h("caption", null, caption),
      h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.title)))),
      h("tbody", null, rows.map((row) => h("tr", { class: rowClass?.(row) }, cells(row))))));
}

export const versionLink = (version, text) => h("a", { href: `#/versions/${version}` }, text ?? String(version));
