// What was found, drawn over a picture by the browser: boxes as lines, names as text that can be read however small the picture is shown.
const NAMESPACE = "http://www.w3.org/2000/svg";
const GAP = 3;

const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
const sides = (corners) => [0, 1].map((axis) => corners.filter((_, place) => place % 2 === axis));

/** The corner of a name's plate beside its box, where nothing of `taken` lies if there is such a place: above, below, right, left, then further off. */
export function place(box, size, room, taken) {
  const [x1, y1, x2, y2] = box, [wide, tall] = size;
  const wanted = [[x1, y1 - GAP - tall], [x1, y2 + GAP], [x2 + GAP, y1], [x1 - GAP - wide, y1]];
  for (const n of [2, 3]) wanted.push([x1, y1 - GAP - n * (tall + 2)], [x1, y2 + GAP + (n - 1) * (tall + 2)]);
  const plates = wanted.map(([x, y]) => [Math.max(Math.min(x, room[0] - wide), 0), Math.max(Math.min(y, room[1] - tall), 0)]);
  return plates.find(([x, y]) => !taken.some((other) => meets([x, y, x + wide, y + tall], other))) ?? plates[0];
}

export class Drawing {
  /** Draws over `parent`, which a picture fills. */
  constructor(parent) {
    this.parent = parent;
    this.told = null;
    this.svg = document.createElementNS(NAMESPACE, "svg");
    this.svg.setAttribute("class", "boxes");
    this.svg.setAttribute("aria-hidden", "true");
    this.names = Object.assign(document.createElement("div"), { className: "names" });
    parent.append(this.svg, this.names);
    new ResizeObserver(() => this.draw(this.told)).observe(parent);
  }

  /** `told` has the frame's `size_wh`, `signs` as [label, percent, corners] and `unsure` as corners; null draws nothing. */
  draw(told) {
    this.told = told;
    this.svg.replaceChildren();
    this.names.replaceChildren();
    if (!told) return;
    const room = [this.parent.clientWidth, this.parent.clientHeight];
    const scaled = (corners) => corners.map((side, axis) => (side * room[axis % 2]) / told.size_wh[axis % 2]);
    const outline = (corners, kind) => {
      const line = document.createElementNS(NAMESPACE, "polygon");
      line.setAttribute("class", kind);
      line.setAttribute("points", corners.join(" "));
      this.svg.append(line);
      const [xs, ys] = sides(corners);
      return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    };
    for (const corners of told.unsure) outline(scaled(corners), "unsure");
    const boxes = told.signs.map(([, , corners]) => outline(scaled(corners), "sign")), taken = [...boxes];
    told.signs.forEach(([label, percent], turn) => {
      const plate = document.createElement("span");
      plate.textContent = `${label} ${percent} %`;
      this.names.append(plate);
      const size = [plate.offsetWidth, plate.offsetHeight], [x, y] = place(boxes[turn], size, room, taken);
      plate.style.left = `${x}px`;
      plate.style.top = `${y}px`;
      taken.push([x, y, x + size[0], y + size[1]]);
    });
  }
}
