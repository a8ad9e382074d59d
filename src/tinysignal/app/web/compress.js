// A rank to choose, and what the network cut to it can still do.
const { make } = window.tinysignal;
const $ = name => element.querySelector(name);
const COLOURS = ["#3f90da", "#e76300", "#832db6", "#a96b59", "#717581", "#bd1f01", "#b9ac70", "#92dadd", "#94a4a2", "#ffa90e"];
let facts = null, asked = 0, busy = false, waiting = false, opened = false;

const run = () => $(".run").value, method = () => $(".method").value;
const top = () => Math.max(...facts.layers.map(layer => layer.full));
const least = () => Math.min(10, top());
const rank = () => Math.max(1, Math.round(least() * (top() / least()) ** (Number($(".rank input").value) / 100)));

const SHOWN = {
  score: value => (100 * value).toFixed(2) + " %",
  parameters: value => value.toLocaleString("en").replaceAll(",", "\u202f"),
  bytes: value => value < 1e6 ? (value / 1e3).toFixed(0) + " kB" : (value / 1e6).toFixed(1) + " MB",
  ms: value => value.toFixed(value < 1 ? 3 : 2) + " ms",
};

async function open() {
  const mine = ++asked;
  facts = null;
  $(".state").textContent = "Opening the run and looking at its layers\u2026";
  const found = await server.open({ run: run(), method: method() });
  if (mine !== asked) return;
  if (found.error) { $(".state").textContent = found.error; return; }
  facts = found;
  $(".metric").textContent = facts.metric;
  $(".legend").replaceChildren(...facts.layers.map((layer, number) => {
    const dot = make("i");
    dot.style.background = COLOURS[number % COLOURS.length];
    return make("li", {}, dot, layer.name);
  }));
  for (const [name, text] of Object.entries(SHOWN)) $("[data-was=" + name + "]").textContent = "whole: " + text(facts.whole[name]);
  cut();
}

async function cut() { // one question at a time; the last place of the slider is always asked
  if (!facts) return;
  spectra();
  if (busy) { waiting = true; return; }
  busy = true;
  do {
    waiting = false;
    const at = rank();
    $(".state").textContent = "Cutting to rank " + at + "\u2026";
    const found = await server.cut({ run: run(), method: method(), rank: at, ink: window.tinysignal.ink ?? "" });
    if (waiting) continue;
    $(".state").textContent = found.error ?? "";
    if (found.error) break;
    for (const [name, text] of Object.entries(SHOWN)) $("[data-of=" + name + "]").textContent = text(found[name]);
    element.dataset.rank = at;
    pairs(found);
  } while (waiting);
  busy = false;
}

function pairs(found) {
  if (!found.before) { $(".pairs").replaceChildren(make("li", { className: "none" }, "Draw one in the tab Digits.")); return; }
  const head = make("li", {}, make("b"), make("small", {}, "whole"), make("small", {}, "cut"));
  $(".pairs").replaceChildren(head, ...found.classes.map((name, number) => {
    const row = make("li", {}, make("b", {}, name));
    for (const side of ["before", "after"]) {
      const bar = make("i", { className: side });
      bar.style.width = 100 * found[side][number] + "%";
      row.append(make("span", { title: side + ": " + (100 * found[side][number]).toFixed(1) + " %" }, bar));
    }
    return row;
  }));
}

function spectra() {
  const canvas = $(".spectra"), pen = canvas.getContext("2d"), { width, height } = canvas;
  const style = getComputedStyle(element.querySelector(".ts")), ink = style.color;
  const left = 58, right = 12, upper = 12, below = 34, low = 1e-4, full = top();
  const x = at => left + Math.log(at) / Math.log(full) * (width - left - right);
  const y = value => upper + Math.log(Math.max(value, low)) / Math.log(low) * (height - upper - below);
  pen.clearRect(0, 0, width, height);
  pen.font = "15px system-ui, sans-serif";
  pen.fillStyle = pen.strokeStyle = ink;
  for (const value of [1, 0.1, 0.01, 0.001, 0.0001]) {
    pen.globalAlpha = 0.15;
    pen.fillRect(left, y(value), width - left - right, 1);
    pen.globalAlpha = 0.8;
    pen.fillText(String(value), 4, y(value) + 5);
  }
  for (const at of [1, 3, 10, 30, 100, 300, 1000].filter(at => at <= full)) pen.fillText(String(at), Math.min(x(at) - 8, width - 36), height - 10);
  pen.globalAlpha = 1;
  pen.lineWidth = 2.2;
  facts.layers.forEach((layer, number) => {
    pen.strokeStyle = COLOURS[number % COLOURS.length];
    pen.beginPath();
    layer.at.forEach((at, place) => pen[place ? "lineTo" : "moveTo"](x(at), y(layer.values[place])));
    pen.stroke();
  });
  pen.strokeStyle = ink;
  pen.setLineDash([6, 5]);
  pen.beginPath();
  pen.moveTo(x(rank()), upper);
  pen.lineTo(x(rank()), height - below);
  pen.stroke();
  pen.setLineDash([]);
  $(".rank b").textContent = rank();
  $(".rank input").setAttribute("aria-valuetext", "rank " + rank());
  canvas.setAttribute("aria-label", "Singular values of " + facts.layers.length + " layers, relative to the largest, on logarithmic axes; the line is at rank " + rank());
}

const { runs, methods } = props.value;
$(".empty").hidden = runs.length > 0;
$(".bench").hidden = runs.length === 0;
$(".run").replaceChildren(...runs.map(path => make("option", { value: path }, path.split("/").pop())));
$(".method").replaceChildren(...methods.map(([name, title]) => make("option", { value: name }, title)));
for (const name of [".run", ".method"]) $(name).addEventListener("change", open);
$(".rank input").addEventListener("input", () => { if (facts) spectra(); });
$(".rank input").addEventListener("change", cut);
$(".export").addEventListener("click", async () => {
  if (!facts) return;
  $(".exported").textContent = "Writing\u2026";
  const found = await server.export({ run: run(), method: method(), rank: rank() });
  $(".exported").textContent = found.error ?? "written: " + found.path;
});
new IntersectionObserver(entries => {
  if (!runs.length || !entries.some(entry => entry.isIntersecting)) return;
  if (opened) cut(); else { opened = true; open(); } // the digit may be another
}).observe(element);
