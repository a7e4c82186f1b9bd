// Small line plots of the last minutes, as SVG.
const WIDTH = 320, HEIGHT = 110, LEFT = 40, RIGHT = 6, TOP = 8, BOTTOM = 20;
const NAMESPACE = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The least round number from `value` up: 1, 2, 2.5 or 5 times a power of ten. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((round) => round >= value * 0.9999);
}

/** A path through the points that there are; where one is missing, or time was lost, it is lifted. */
export function trace(times, values, x, y) {
  let path = "", before = null;
  times.forEach((time, place) => {
    const value = values[place];
    if (value === null || value === undefined) { before = null; return; }
    path += `${before !== null && time - before < 5 ? "L" : "M"}${x(time).toFixed(1)},${y(value).toFixed(1)}`;
    before = time;
  });
  return path;
}

export class Plot {
  /** `series` are [key in the history, name] pairs: one, or two that share an axis. */
  constructor(parent, title, unit, series) {
    this.title = title;
    this.unit = unit;
    this.series = series;
    this.figure = document.createElement("figure");
    this.figure.className = "sheet";
    const caption = document.createElement("figcaption");
    caption.append(title);
    this.legend = document.createElement("span");
    caption.append(this.legend);
    this.svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.figure.append(caption, this.svg);
    parent.append(this.figure);
  }

  draw(history, minutes) {
    const times = history.t;
    const end = times.length ? times[times.length - 1] : 0;
    const known = this.series.flatMap(([key]) => history[key].filter((value) => value !== null));
    this.figure.hidden = !known.length;
    if (!known.length) return;
    const most = roundUp(Math.max(...known, 0.001));
    const x = (time) => WIDTH - RIGHT - ((end - time) / (minutes * 60)) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const at = y(most * share);
      parts.push(element("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at }));
      parts.push(element("text", { x: LEFT - 4, y: at + 4, "text-anchor": "end" }, Number((most * share).toPrecision(3)).toString()));
    }
    parts.push(element("text", { x: LEFT, y: HEIGHT - 4 }, `${minutes} min ago`));
    parts.push(element("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
    this.series.forEach(([key], place) => parts.push(element("path", { class: place ? "second" : "first", d: trace(times, history[key], x, y) })));
    this.svg.replaceChildren(...parts);
    const now = this.series.map(([key, name]) => [name, history[key][times.length - 1]]);
    const each = now.map(([name, value]) => (value === null ? "" : `${name} ${Number(value.toPrecision(3))} ${this.unit}`));
    const said = each.filter(Boolean).join(", ") || "nothing";
    // Where there are two, the line before a name is the one that is its.
    this.legend.replaceChildren(...each.map((text, place) => {
      const entry = document.createElement("span");
      if (each.filter(Boolean).length > 1 && text) entry.append(Object.assign(document.createElement("i"), { className: place ? "line second" : "line first" }));
      entry.append(text);
      return entry;
    }));
    this.svg.setAttribute("aria-label", `${this.title}, the last ${minutes} minutes: now ${said}`);
  }
}
