// A sheet to draw on, and what the network answers while one draws.
const { bytes, make, magma } = window.tinysignal;
const $ = name => element.querySelector(name);
const SIDE = 140, PEN = 11, STEP = 5;
const sheet = $(".sketch"), pen = sheet.getContext("2d", { willReadFrequently: true });
const colours = props.value.colours;

let model = "", known = null, method = "PCA", maps = [], asking = false, again = false, asked = 0, round = 0;

// The sheet

function paper() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, SIDE, SIDE);
  pen.strokeStyle = pen.fillStyle = "#fff";
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
}

function ink() {
  const dots = pen.getImageData(0, 0, SIDE, SIDE).data, levels = new Uint8Array(SIDE * SIDE);
  for (let at = 0; at < levels.length; at++) levels[at] = dots[4 * at];
  let text = "";
  for (let at = 0; at < levels.length; at += 8192) text += String.fromCharCode(...levels.subarray(at, at + 8192));
  return window.tinysignal.ink = btoa(text);
}

let last = null;
const at = event => {
  const box = sheet.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
};
function line(from, to) {
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(to[0] + 0.01, to[1]);
  pen.stroke();
  look();
}
sheet.addEventListener("pointerdown", event => {
  event.preventDefault();
  sheet.focus({ preventScroll: true });
  sheet.setPointerCapture(event.pointerId);
  last = at(event);
  line(last, last);
});
sheet.addEventListener("pointermove", event => {
  if (!last) return;
  for (const one of event.getCoalescedEvents?.() ?? [event]) { const to = at(one); line(last, to); last = to; }
});
for (const name of ["pointerup", "pointercancel"]) sheet.addEventListener(name, () => { last = null; explain(); });

const spot = [SIDE / 2, SIDE / 4];
let lowered = false;
sheet.addEventListener("keydown", event => {
  const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  if (event.key === " ") { lowered = !lowered; if (lowered) line(spot, spot); else explain(); }
  else if (event.key === "Delete" || event.key === "Backspace") clear();
  else if (moves[event.key]) {
    const from = [...spot];
    moves[event.key].forEach((by, axis) => { spot[axis] = Math.min(SIDE - 5, Math.max(5, spot[axis] + by)); });
    if (lowered) line(from, spot);
  } else return;
  event.preventDefault();
});

function clear() {
  paper();
  lowered = false;
  look();
  explain();
}

// The answers

async function look() { // one question at a time; the last state of the sheet is always asked
  if (asking) { again = true; return; }
  asking = true;
  do {
    again = false;
    show(await server.look({ model, ink: ink() }));
  } while (again);
  asking = false;
}

function show(answer) {
  if (answer.error) { $(".said").textContent = answer.error; return; }
  const said = $(".said");
  if (answer.empty) {
    said.textContent = "Draw a digit, large and in one piece.";
    bars(known?.classes ?? [..."0123456789"], null);
    blank($(".seen"));
    return;
  }
  bars(answer.classes, answer.probabilities);
  const best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
  said.replaceChildren("This is a ", make("b", {}, answer.classes[best]), ", " + percent(answer.probabilities[best]) + " sure");
  said.dataset.answer = answer.classes[best];
  grey($(".seen"), bytes(answer.seen), answer.shape);
  known = { ...known, shape: answer.shape };
}

const percent = share => (100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1) + " %";

function bars(classes, shares) {
  const best = shares ? Math.max(...shares) : 2;
  $(".bars").replaceChildren(...classes.map((name, number) => {
    const share = shares?.[number] ?? 0, fill = make("i");
    fill.style.width = 100 * share + "%";
    fill.style.background = colours[number % colours.length];
    const row = make("li", { className: share === best ? "best" : "" }, make("b", {}, name), make("span", { className: "track" }, fill), make("span", { className: "share" }, shares ? percent(share) : ""));
    return row;
  }));
}

async function explain() {
  const mine = ++asked;
  const drawing = ink();
  const answer = await server.explain({ model, ink: drawing });
  if (mine !== asked) return;
  if (answer.empty || answer.error) { blank($(".decide")); $(".nearest").replaceChildren(); }
  else {
    signed($(".decide"), bytes(answer.occlusion), known.shape);
    $(".nearest").replaceChildren(...(answer.alone ? [make("li", { className: "alone" }, answer.alone)] : answer.nearest.map(one => {
      const canvas = make("canvas", { role: "img", "aria-label": "A training example of class " + one.class });
      grey(canvas, bytes(one.picture), known.shape);
      return make("li", {}, canvas, make("span", {}, one.class));
    })));
  }
  place(false);
}

// The maps

async function begin() {
  const mine = ++round;
  maps = [];
  $(".maps").replaceChildren();
  $(".state").textContent = "Loading example digits\u2026";
  const found = await server.examples({ model });
  if (mine !== round) return;
  if (found.error) { $(".state").textContent = found.error; return; }
  known = { ...known, ...found, pictures: bytes(found.pictures) };
  $(".legend").replaceChildren(...found.classes.map((name, number) => {
    const dot = make("i");
    dot.style.background = colours[number % colours.length];
    return make("li", {}, dot, name);
  }));
  maps = found.layers.map(title => {
    const canvas = make("canvas", { role: "img", "aria-label": "Map of " + title });
    const box = make("figure", {}, make("figcaption", {}, title), canvas);
    $(".maps").append(box);
    const map = { title, canvas, points: null, place: null };
    canvas.addEventListener("pointermove", event => point(map, event));
    canvas.addEventListener("pointerleave", () => { $(".card")?.remove(); });
    return map;
  });
  await place(true);
}

async function place(whole) { // layer after layer
  const mine = whole ? ++round : round, drawing = ink();
  for (const [number, map] of maps.entries()) {
    const fresh = whole || !map.points;
    if (fresh) $(".state").textContent = "Drawing the map of " + map.title + (method === "t-SNE" ? ", which takes some seconds" : "") + "\u2026";
    const answer = await server.map({ model, layer: number, method, ink: drawing, whole: fresh });
    if (mine !== round) return;
    if (answer.error) { $(".state").textContent = answer.error; return; }
    if (answer.points) {
      const raw = bytes(answer.points);
      map.points = new Float32Array(raw.buffer);
    }
    map.place = answer.place;
    paint(map);
  }
  $(".state").textContent = "";
  element.dataset.method = method;
}

function frame(map) { // from a layer's numbers to the canvas
  const { points, canvas } = map, low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let at = 0; at < points.length; at++) { low[at % 2] = Math.min(low[at % 2], points[at]); high[at % 2] = Math.max(high[at % 2], points[at]); }
  const span = Math.max(high[0] - low[0], high[1] - low[1], 1e-9), side = canvas.width, scale = 0.9 * side / span;
  return (x, y) => [side / 2 + (x - (low[0] + high[0]) / 2) * scale, side / 2 - (y - (low[1] + high[1]) / 2) * scale];
}

function paint(map) {
  const { canvas, points } = map, size = 360;
  canvas.width = canvas.height = size;
  const brush = canvas.getContext("2d"), put = map.put = frame(map);
  for (let number = 0; number < points.length / 2; number++) {
    const [x, y] = put(points[2 * number], points[2 * number + 1]);
    brush.fillStyle = colours[known.labels[number] % colours.length];
    brush.globalAlpha = 0.85;
    brush.beginPath();
    brush.arc(x, y, 3.2, 0, 7);
    brush.fill();
  }
  brush.globalAlpha = 1;
  canvas.dataset.placed = map.place ? map.place.map(value => value.toFixed(2)).join(" ") : "";
  if (!map.place) return;
  const [x, y] = put(...map.place).map(value => Math.min(size - 12, Math.max(12, value)));
  for (const [width, colour] of [[9, "#fff"], [4.5, "#111"]]) {
    brush.lineWidth = width;
    brush.strokeStyle = colour;
    brush.beginPath();
    brush.arc(x, y, 11, 0, 7);
    brush.stroke();
  }
}

function point(map, event) { // the example under the pointer
  if (!map.points) return;
  const box = map.canvas.getBoundingClientRect(), scale = map.canvas.width / box.width;
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  let best = -1, least = 14 ** 2;
  for (let number = 0; number < map.points.length / 2; number++) {
    const [left, top] = map.put(map.points[2 * number], map.points[2 * number + 1]);
    const distance = (left - x) ** 2 + (top - y) ** 2;
    if (distance < least) { least = distance; best = number; }
  }
  $(".card")?.remove();
  if (best < 0) return;
  const size = known.shape[0] * known.shape[1], picture = make("canvas");
  grey(picture, known.pictures.subarray(best * size, (best + 1) * size), known.shape);
  const card = make("div", { className: "card" }, picture, make("span", {}, known.classes[known.labels[best]]));
  card.style.left = Math.min(event.clientX + 14, innerWidth - 90) + "px";
  card.style.top = event.clientY + 14 + "px";
  element.querySelector(".digits").append(card);
}

// Pictures

function dots(canvas, shape, colour) {
  [canvas.height, canvas.width] = shape;
  const brush = canvas.getContext("2d"), picture = brush.createImageData(shape[1], shape[0]);
  for (let at = 0; at < shape[0] * shape[1]; at++) picture.data.set([...colour(at), 255], 4 * at);
  brush.putImageData(picture, 0, 0);
}
const grey = (canvas, levels, shape) => dots(canvas, shape, at => [levels[at], levels[at], levels[at]]);
const signed = (canvas, levels, shape) => dots(canvas, shape, at => { // blue, white, red
  const value = levels[at] / 127.5 - 1, rest = 1 - Math.abs(value);
  return value > 0 ? [178 + 77 * rest, 24 + 231 * rest, 43 + 212 * rest] : [33 + 222 * rest, 102 + 153 * rest, 172 + 83 * rest];
});
const blank = canvas => { canvas.width = canvas.height = 28; };

function another() { // a training example on the sheet
  if (!known?.pictures) return;
  const number = Math.floor(Math.random() * known.labels.length), size = known.shape[0] * known.shape[1];
  const small = make("canvas");
  grey(small, known.pictures.subarray(number * size, (number + 1) * size), known.shape);
  paper();
  pen.drawImage(small, SIDE / 7, SIDE / 7, SIDE - 2 * SIDE / 7, SIDE - 2 * SIDE / 7); // with paper around it
  element.dataset.shown = known.classes[known.labels[number]];
  look();
  explain();
}

function choose(path) {
  model = path;
  known = null;
  paper();
  blank($(".seen"));
  blank($(".decide"));
  look();
  explain();
  started = false;
  watchTab();
}

// The maps are made when the tab is first seen.
let started = false;
const seen = new IntersectionObserver(entries => { if (entries.some(entry => entry.isIntersecting)) watchTab(); });
function watchTab() {
  if (started || !window.tinysignal.shown(sheet)) return;
  started = true;
  begin();
}
seen.observe(sheet);

$(".clear").addEventListener("click", clear);
$(".another").addEventListener("click", another);
$(".which select").replaceChildren(...props.value.models.map(([title, path]) => make("option", { value: path }, title)));
$(".which").hidden = props.value.models.length < 2;
$(".which select").addEventListener("change", event => choose(event.target.value));
for (const button of element.querySelectorAll("[data-method]")) {
  button.addEventListener("click", () => {
    method = button.dataset.method;
    for (const other of element.querySelectorAll("[data-method]")) other.setAttribute("aria-pressed", String(other === button));
    place(true);
  });
}
choose(props.value.models[0][1]);
