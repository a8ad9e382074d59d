// The columns of a curve, a plot each, read anew while the tab is seen.
const { make, shown } = window.tinysignal;
const $ = name => element.querySelector(name);
const EVERY_MS = 3000;
let last = "";

async function read() {
  if (!element.isConnected) { clearInterval(timer); return; }
  if (!shown($(".bench"))) return;
  const run = $(".run").value, found = await server.curve({ run });
  const state = found.error ?? (found.scores.length ? found.columns.step?.at(-1) + " steps, " + (found.over ? "over" : "going on") : "nothing measured yet");
  $(".state").textContent = state;
  const now = run + JSON.stringify(found);
  if (found.error || now === last) return;
  last = now;
  const across = found.columns.step ?? [];
  $(".curves").replaceChildren(...found.scores.map(name => plot(name, across, found.columns[name])));
}

function plot(name, across, values) {
  const points = values.map((value, at) => [across[at], value]).filter(([, value]) => value !== null);
  const canvas = make("canvas", { width: 560, height: 260, role: "img" });
  const [low, high] = [Math.min, Math.max].map(pick => points.reduce((found, [, value]) => pick(found, value), points[0]?.[1] ?? 0));
  const span = high - low || 1, pen = canvas.getContext("2d"), style = getComputedStyle(element.querySelector(".ts"));
  const left = 66, below = 30, right = 14, upper = 12, most = Math.max(1, across.at(-1) ?? 1);
  const x = step => left + step / most * (canvas.width - left - right), y = value => upper + (high - value) / span * (canvas.height - upper - below);
  pen.font = "15px system-ui, sans-serif";
  pen.fillStyle = style.color;
  for (const value of [low, low + span / 2, high]) {
    pen.globalAlpha = 0.15;
    pen.fillRect(left, y(value), canvas.width - left - right, 1);
    pen.globalAlpha = 0.8;
    pen.fillText(Number(value.toPrecision(4)), 2, y(value) + 5);
  }
  pen.fillText(most + " steps", canvas.width - 100, canvas.height - 6);
  pen.globalAlpha = 1;
  pen.strokeStyle = pen.fillStyle = style.getPropertyValue("--accent");
  pen.lineWidth = 2.4;
  pen.beginPath();
  points.forEach(([step, value], at) => pen[at ? "lineTo" : "moveTo"](x(step), y(value)));
  pen.stroke();
  if (points.length) { pen.beginPath(); pen.arc(x(points.at(-1)[0]), y(points.at(-1)[1]), 4, 0, 7); pen.fill(); }
  const end = points.length ? Number(points.at(-1)[1].toPrecision(4)) : "nothing yet";
  canvas.setAttribute("aria-label", name + " over " + most + " steps: from " + Number((points[0]?.[1] ?? 0).toPrecision(4)) + " to " + end);
  return make("figure", {}, make("figcaption", {}, make("b", {}, name.replaceAll("_", " ")), " " + end), canvas);
}

const { runs } = props.value;
$(".empty").hidden = runs.length > 0;
$(".bench").hidden = runs.length === 0;
$(".run").replaceChildren(...runs.map(path => make("option", { value: path }, path.split("/").pop())));
$(".run").addEventListener("change", read);
const timer = setInterval(read, EVERY_MS);
new IntersectionObserver(entries => { if (runs.length && entries.some(entry => entry.isIntersecting)) read(); }).observe(element);
