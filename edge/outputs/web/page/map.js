// A map beside the picture: where the camera was, which way it looks, and where the signs stand that it saw. North is up; no server is asked for a background.
const NAMESPACE = "http://www.w3.org/2000/svg";
const WAY = 3600, SIGNS = 500, WITHIN = 2.45, DEGREE_M = 111320, ROOM_M = 15;

function made(name, attributes, parent, text) {
  const node = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

/** The longest of 1, 2, 5, 10 ... metres that is no longer than a quarter of `width` metres. */
export function scaleOf(width) {
  const power = 10 ** Math.floor(Math.log10(width / 4));
  return [5, 2, 1].find((factor) => factor * power <= width / 4) * power;
}

export class LiveMap {
  /** Draws in `section`, which is hidden until a place is known. */
  constructor(section) {
    this.section = section;
    this.svg = made("svg", { role: "img" }, section);
    this.note = Object.assign(document.createElement("p"), { className: "note" });
    section.append(this.note);
    this.forget();
  }

  forget() {
    this.origin = null;
    this.way = [];
    this.heading = null;
    this.signs = new Map();
    this.section.hidden = true;
  }

  /** Metres to the right (east) and down (south) of the first place that was told. */
  at(place) {
    this.origin ??= { lat: place.lat, lon: place.lon };
    const east = (((place.lon - this.origin.lon + 540) % 360) - 180) * DEGREE_M * Math.cos((this.origin.lat * Math.PI) / 180);
    return [east, (this.origin.lat - place.lat) * DEGREE_M];
  }

  /** Takes the newest frame's pose, as events have it; null where nothing is known. */
  pose(pose) {
    if (pose?.lat == null || pose.lon == null) return;
    const [x, y] = this.at(pose), last = this.way[this.way.length - 1];
    if (!last || Math.hypot(x - last[0], y - last[1]) > 0.3) this.way.push([x, y]);
    this.way.splice(0, Math.max(0, this.way.length - WAY));
    this.heading = pose.yaw_deg;
  }

  /** Takes an event, in turn: what is told of a track last counts. */
  event(event) {
    this.pose(event.pose);
    if (!event.where || event.track === null) return;
    this.signs.delete(event.track);
    this.signs.set(event.track, { label: event.label, place: this.at(event.where), sigma: event.where.sigma_m, facing: event.where.facing_deg });
    if (this.signs.size > SIGNS) this.signs.delete(this.signs.keys().next().value);
  }

  draw() {
    this.section.hidden = this.origin === null;
    if (this.section.hidden) return;
    const signs = [...this.signs.values()], points = [...this.way, ...signs.map((sign) => sign.place)];
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, top] = [Math.min(...xs) - ROOM_M, Math.min(...ys) - ROOM_M], box = [Math.max(...xs) + ROOM_M - left, Math.max(...ys) + ROOM_M - top];
    const shape = Math.max(this.svg.clientWidth, 1) / Math.max(this.svg.clientHeight, 1), wide = Math.max(box[0], box[1] * shape), high = wide / shape;
    const [x0, y0] = [left - (wide - box[0]) / 2, top - (high - box[1]) / 2], unit = wide / Math.max(this.svg.clientWidth, 1);
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `${x0} ${y0} ${wide} ${high}`);
    this.svg.setAttribute("aria-label", `Map: ${signs.length} ${signs.length === 1 ? "sign" : "signs"}`);
    made("polyline", { class: "way", points: this.way.map((point) => point.join(",")).join(" ") }, this.svg);
    for (const { label, place: [x, y], sigma, facing } of signs) {
      const spot = made("g", { class: "spot" }, this.svg);
      made("circle", { class: "within", cx: x, cy: y, r: Math.max(WITHIN * sigma, 0.3) }, spot);
      if (facing !== null) {
        const turn = (facing * Math.PI) / 180;
        made("line", { x1: x, y1: y, x2: x + 14 * unit * Math.sin(turn), y2: y - 14 * unit * Math.cos(turn) }, spot);
      }
      made("circle", { class: "stand", cx: x, cy: y, r: 5 * unit }, spot);
      made("title", {}, spot, `${label}, within ${(WITHIN * sigma).toFixed(1)} m`);
    }
    const here = this.way[this.way.length - 1];
    if (here) made("path", { class: "here", d: "M0,-9L6,7L0,3L-6,7Z", transform: `translate(${here}) scale(${unit}) rotate(${this.heading ?? 0})` }, this.svg);
    const bar = scaleOf(wide), [x, y] = [x0 + 12 * unit, y0 + high - 12 * unit];
    made("path", { class: "bar", d: `M${x},${y - 5 * unit}v${5 * unit}h${bar}v${-5 * unit}` }, this.svg);
    made("text", { x: x + 4 * unit, y: y - 7 * unit, "font-size": 12 * unit }, this.svg, bar < 1000 ? `${bar} m` : `${bar / 1000} km`);
    this.note.textContent = `${signs.length} ${signs.length === 1 ? "sign" : "signs"} placed, each within its circle in 95 of 100 cases. North is up.`;
  }
}
