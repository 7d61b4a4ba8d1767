// Line charts as SVG. Whoever calls gives figures and words; nothing here is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const LEFT = 52;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 24;

function made(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// A round step of which about `most` fit into a span.
function step(span, most, bases) {
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return (bases.find((base) => base * power >= rough) ?? 10) * power;
}

const CLOCK_STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600];

function timeTicks(from, to, most) {
  const every = CLOCK_STEPS.find((each) => (to - from) / each <= most) ?? 43200;
  // Whole hours are those of the clock on the wall.
  const offset = new Date(to * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / every) * every + offset; at <= to; at += every) {
    ticks.push(at);
  }
  return { ticks, seconds: every < 60 };
}

export function clock(time, seconds = true) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) options.second = "2-digit";
  return new Date(time * 1000).toLocaleTimeString("en-GB", options);
}

// Parts of a line between which a figure was not known.
function stretches(points) {
  const found = [[]];
  for (const point of points) {
    if (point.slice(1).some((value) => value === null)) found.push([]);
    else found.at(-1).push(point);
  }
  return found.filter((stretch) => stretch.length > 0);
}

// Draw into `place`. Lines are {kind, points: [[time, value]...]}, a band [[time, low, high]...];
// `low` and `high` bound the axis, and figures beyond `high` stretch it.
export function draw(place, { title, words, lines, band = [], low, high, whole, format }) {
  const width = Math.max(240, place.clientWidth);
  const all = lines.flatMap((line) => line.points);
  const values = [...all, ...band].flatMap((point) => point.slice(1)).filter((v) => v !== null);
  const times = all.map((point) => point[0]);
  const to = Math.max(...times);
  const from = Math.min(...times, to - 10);
  const bottom = Math.min(low, ...values);
  const top = Math.max(high, ...values);
  const every = whole
    ? Math.max(step(top - bottom, 4, [1, 2, 5, 10]), 1)
    : step(top - bottom, 4, [1, 2, 2.5, 5, 10]);
  const floor = Math.floor(bottom / every + 1e-9) * every;
  const ceiling = Math.max(floor + every, Math.ceil(top / every - 1e-9) * every);
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - RIGHT);
  const y = (value) =>
    TOP + ((ceiling - value) / (ceiling - floor)) * (HEIGHT - TOP - BOTTOM);
  const at = ([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`;

  const svg = made("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-labelledby": `${place.id}-title ${place.id}-words`,
  });
  svg.append(made("title", { id: `${place.id}-title` }, title));
  svg.append(made("desc", { id: `${place.id}-words` }, words));
  for (let n = 0; floor + n * every <= ceiling + every / 2; n += 1) {
    const level = y(floor + n * every);
    svg.append(made("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: level, y2: level }));
    const place = { x: LEFT - 8, y: level + 4, "text-anchor": "end" };
    svg.append(made("text", place, format(floor + n * every)));
  }
  const { ticks, seconds } = timeTicks(from, to, Math.max(2, Math.floor(width / 110)));
  for (const tick of ticks) {
    const anchor = x(tick) > width - 40 ? "end" : x(tick) < LEFT + 20 ? "start" : "middle";
    const place = { x: x(tick), y: HEIGHT - 6, "text-anchor": anchor };
    svg.append(made("text", place, clock(tick, seconds)));
  }
  for (const stretch of stretches(band)) {
    const upper = stretch.map(([time, , value]) => at([time, value]));
    const lower = stretch.map(([time, value]) => at([time, value])).reverse();
    svg.append(made("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
  }
  for (const { kind, points } of lines) {
    for (const stretch of stretches(points)) {
      const drawn = stretch.map(at).join(" ");
      svg.append(made("polyline", { class: `drawn ${kind}`, points: drawn }));
      const [cx, cy] = at(stretch.at(-1)).split(",");
      svg.append(made("circle", { class: `dot ${kind}`, cx, cy, r: 3 }));
    }
  }
  place.replaceChildren(svg);
}
