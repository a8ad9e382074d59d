// Before, after and removed of one recording: two signals that start together, mixed as they play.
const { magma, bytes, clock, make, typing, shown } = window.tinysignal;
const $ = name => element.querySelector(name);
const [upper, lower] = element.querySelectorAll("canvas");
const AHEAD_S = 2.5, PIECE_S = 1, RANGE_DB = 75, SPEECH_DB = 20;

let take = null, overview = null, mode = "after", place = 0, deck = null, loading = 0;

// The list

function list() {
  const { takes, left_s } = props.value ?? { takes: [] };
  $(".empty").hidden = takes.length > 0;
  $(".takes").replaceChildren(...takes.map(row));
  const working = takes.filter(one => one.state === "working" || one.state === "waiting").length;
  const done = takes.filter(one => one.state === "done").length;
  const left = left_s ? ", about " + clock(left_s) + " left" : "";
  const status = $(".status");
  status.replaceChildren(working ? "Denoising: " + done + " of " + takes.length + " done" + left : "");
  if (!working && done > 1) {
    const all = make("button", { type: "button", className: "all", onclick: () => trigger("download", { which: "all" }) }, "Download all as .zip");
    status.replaceChildren(all);
  }
  const chosen = takes.find(one => take && one.id === take.id && one.state === "done");
  const first = takes.find(one => one.state === "done");
  if (!chosen) choose(first ?? null);
}

function row(one) {
  const name = make("button", { type: "button", className: "name", disabled: one.state !== "done", onclick: () => choose(one) }, one.name);
  const item = make("li", { className: one.state }, name);
  item.dataset.id = one.id;
  if (one.state === "failed") item.append(make("span", { className: "note", role: "alert" }, one.note));
  else item.append(make("span", { className: "length" }, clock(one.total_s)));
  if (one.state === "working") {
    item.append(make("progress", { max: 1, value: one.total_s ? one.done_s / one.total_s : 0, "aria-label": "Denoising " + one.name }));
  }
  if (one.state === "done") {
    item.append(make("button", { type: "button", className: "get", "aria-label": "Download " + one.name + " denoised", onclick: () => trigger("download", { which: one.id }) }, "Download"));
  }
  return item;
}

async function choose(one) {
  stop();
  take = one;
  overview = null;
  place = 0;
  $(".deck").hidden = !one;
  if (!one) return;
  for (const item of element.querySelectorAll(".takes li")) item.classList.toggle("chosen", item.dataset.id === one.id);
  const found = await (await fetch(one.overview)).json();
  if (take !== one) return;
  overview = { ...found, before: bytes(found.before), after: bytes(found.after), product: bytes(found.product) };
  ticks();
  draw();
  follow();
}

// What is drawn: the power of k * before + (1 - k) * after, for any k

const power = level => 10 ** ((overview.floor_db + overview.step_db * level) / 10);
const POWERS = () => overview.powers ??= Float64Array.from({ length: 256 }, (_, level) => power(level));

function weights(what) {
  const kept = Number(props.kept) || 0;
  if (what === "before") return [1, 0];
  return what === "after" ? [kept, 1 - kept] : [1 - kept, kept - 1];
}

function levels(what) {
  const [dry, wet] = weights(what), { before, after, product } = overview, powers = POWERS();
  const found = new Float64Array(before.length);
  for (let at = 0; at < before.length; at++) {
    const first = powers[before[at]], second = powers[after[at]];
    const both = (product[at] / 127.5 - 1) * Math.sqrt(first * second);
    found[at] = Math.max(0, dry * dry * first + 2 * dry * wet * both + wet * wet * second);
  }
  return found;
}

function loudness(found) { // of the columns with speech, dB
  const { columns, rows } = overview, sums = new Float64Array(columns);
  for (let at = 0; at < found.length; at++) sums[Math.floor(at / rows)] += found[at];
  const reference = overview.spoken ??= (() => {
    const after = levels("after"), loud = new Float64Array(columns);
    for (let at = 0; at < after.length; at++) loud[Math.floor(at / rows)] += after[at];
    const most = Math.max(...loud);
    return Array.from(loud, value => value > most * 10 ** (-SPEECH_DB / 10));
  })();
  let sum = 0, count = 0;
  for (let column = 0; column < columns; column++) if (reference[column]) { sum += sums[column]; count++; }
  return 10 * Math.log10(sum / Math.max(1, count) + 1e-20);
}

function draw() {
  if (!overview) return;
  const second = mode === "removed" ? "removed" : "after";
  const [before, after] = [levels("before"), levels(second)];
  let most = 0;
  for (const value of before) most = Math.max(most, value);
  const top = 10 * Math.log10(most + 1e-12);
  paint(upper, before, top);
  paint(lower, after, top);
  const quiet = pauses(levels("after"));
  $(".second").textContent = second === "removed" ? "Removed" : "After";
  $(".change").textContent = second === "after" ? "pauses " + (quiet <= 0 ? "\u2212" : "+") + Math.abs(quiet).toFixed(1) + " dB" : "";
  const length = clock(take.samples / take.rate_hz);
  upper.setAttribute("aria-label", "Spectrogram of the recording, " + length);
  lower.setAttribute("aria-label", "Spectrogram of what is " + (second === "after" ? "left" : "removed") + ", " + length + "; pauses change by " + quiet.toFixed(1) + " dB");
  lower.dataset.pauses = pauses(levels("after")).toFixed(2);
}

function pauses(found) { // how much the columns without speech change, dB: the median of the quietest fifth
  const { columns, rows } = overview, change = [];
  const before = overview.dry ??= levels("before");
  const sum = (values, column) => { let total = 0; for (let row = 0; row < rows; row++) total += values[column * rows + row]; return total; };
  const order = overview.quietest ??= (() => {
    const loud = Array.from({ length: columns }, (_, column) => sum(before, column));
    const heard = [...loud.keys()].filter(column => loud[column] > 1e-9);
    return heard.sort((a, b) => loud[a] - loud[b]).slice(0, Math.max(1, Math.floor(heard.length / 5)));
  })();
  for (const column of order) change.push(10 * Math.log10((sum(found, column) + 1e-12) / (sum(before, column) + 1e-12)));
  return change.sort((a, b) => a - b)[Math.floor(change.length / 2)] ?? 0;
}

function paint(canvas, found, top) {
  const { columns, rows } = overview;
  canvas.width = columns;
  canvas.height = rows;
  const pen = canvas.getContext("2d"), picture = pen.createImageData(columns, rows);
  for (let column = 0; column < columns; column++) {
    for (let level = 0; level < rows; level++) {
      const decibel = 10 * Math.log10(found[column * rows + level] + 1e-12);
      const colour = 3 * Math.round(255 * Math.min(1, Math.max(0, 1 + (decibel - top) / RANGE_DB)));
      const at = 4 * ((rows - 1 - level) * columns + column);
      picture.data[at] = magma[colour];
      picture.data[at + 1] = magma[colour + 1];
      picture.data[at + 2] = magma[colour + 2];
      picture.data[at + 3] = 255;
    }
  }
  pen.putImageData(picture, 0, 0);
}

function ticks() {
  const mel = hertz => Math.log10(1 + hertz / 700), top = mel(overview.top_hz);
  const shownAt = [250, 1000, 2000, 4000, 8000, 16000].filter(hertz => hertz <= overview.top_hz);
  for (const box of element.querySelectorAll(".ticks")) {
    box.replaceChildren(...shownAt.map(hertz => {
      const tick = make("span", {}, hertz < 1000 ? hertz + " Hz" : hertz / 1000 + " kHz");
      tick.style.bottom = Math.min(93, 100 * mel(hertz) / top) + "%";
      return tick;
    }));
  }
  const length = take.samples / take.rate_hz;
  $(".times").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map(part => make("span", {}, clock(part * length))));
}

// What is heard

class Deck {
  constructor(one, from) {
    try { this.sound = new AudioContext({ sampleRate: one.rate_hz }); } catch { this.sound = new AudioContext(); }
    this.take = one;
    this.dry = this.sound.createGain();
    this.wet = this.sound.createGain();
    this.dry.connect(this.sound.destination);
    this.wet.connect(this.sound.destination);
    this.from = from;
    this.next = Math.round(from * one.rate_hz); // sample
    this.started = null;
    this.timer = setInterval(() => this.fill(), 200);
    this.mix(0);
    this.fill();
  }
  get place() {
    const past = this.started === null ? 0 : Math.max(0, this.sound.currentTime - this.started);
    return Math.min(this.from + past, this.take.samples / this.take.rate_hz);
  }
  get over() { return this.place >= this.take.samples / this.take.rate_hz; }
  mix(seconds = 0.02) {
    const [dry, wet] = weights(mode);
    const loud = 10 ** (gain(mode) / 20), now = this.sound.currentTime;
    for (const [node, value] of [[this.dry, dry * loud], [this.wet, wet * loud]]) {
      node.gain.cancelScheduledValues(now);
      if (seconds) node.gain.setTargetAtTime(value, now, seconds / 3); else node.gain.value = value;
    }
  }
  async fill() { // the next pieces, as bytes of the file
    if (this.busy || this.closed) return;
    this.busy = true;
    try {
      while (!this.closed && this.next < this.take.samples && this.next / this.take.rate_hz - this.place < AHEAD_S) {
        const { rate_hz, channels, samples } = this.take;
        const count = Math.min(Math.round(PIECE_S * rate_hz), samples - this.next), frame = 4 * channels;
        const answer = await fetch(this.take.sound, { headers: { Range: "bytes=" + this.next * frame + "-" + ((this.next + count) * frame - 1) } });
        const all = await answer.arrayBuffer();
        if (this.closed) return;
        const part = answer.status === 206 ? all : all.slice(this.next * frame, (this.next + count) * frame);
        this.schedule(new Int16Array(part), count, channels, rate_hz);
        this.next += count;
      }
    } finally { this.busy = false; }
  }
  schedule(values, count, channels, rate_hz) {
    this.started ??= this.sound.currentTime + 0.06;
    const when = this.started + this.next / rate_hz - this.from;
    [this.dry, this.wet].forEach((node, side) => {
      const buffer = this.sound.createBuffer(channels, count, rate_hz);
      for (let channel = 0; channel < channels; channel++) {
        const samples = buffer.getChannelData(channel);
        for (let at = 0; at < count; at++) samples[at] = values[at * 2 * channels + side * channels + channel] / 32767;
      }
      const source = this.sound.createBufferSource();
      source.buffer = buffer;
      source.connect(node);
      source.start(Math.max(when, this.sound.currentTime));
    });
  }
  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.sound.close();
  }
}

function gain(what) { // dB that makes before and after equally loud; never louder than the file
  if (!$(".match input").checked || what === "removed" || !overview) return 0;
  const both = [loudness(levels("before")), loudness(levels("after"))];
  return Math.min(...both) - both[what === "before" ? 0 : 1];
}

function play() {
  if (!take) return;
  if (deck) { stop(); return; }
  if (place >= take.samples / take.rate_hz - 0.05) place = 0;
  deck = new Deck(take, place);
  follow();
}

function stop() {
  if (deck) { place = deck.place; deck.close(); deck = null; }
  follow();
}

function seek(seconds) {
  if (!take) return;
  const playing = deck !== null;
  stop();
  place = Math.min(Math.max(0, seconds), take.samples / take.rate_hz);
  if (playing) play(); else follow();
}

function hear(what) {
  mode = what;
  for (const button of element.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", String(button.dataset.mode === what));
  deck?.mix();
  draw();
}

function follow() {
  const button = $(".play"), length = take ? take.samples / take.rate_hz : 0;
  if (deck?.over) { deck.close(); deck = null; place = length; }
  const at = deck ? deck.place : place;
  button.setAttribute("aria-label", deck ? "Stop" : "Play");
  button.textContent = deck ? "\u25A0" : "\u25B6";
  $(".time").textContent = clock(at) + " / " + clock(length);
  const seeker = $(".seek");
  seeker.max = length;
  if (document.activeElement !== seeker || deck) seeker.value = at;
  seeker.setAttribute("aria-valuetext", clock(at) + " of " + clock(length));
  for (const cursor of element.querySelectorAll(".cursor")) cursor.style.left = (length ? 100 * at / length : 0) + "%";
  element.dataset.playing = deck ? "yes" : "no";
  element.dataset.place = at.toFixed(3);
  if (deck) { cancelAnimationFrame(loading); loading = requestAnimationFrame(follow); }
}

// Hands and keys

$(".play").addEventListener("click", play);
$(".seek").addEventListener("input", event => seek(Number(event.target.value)));
$(".match input").addEventListener("change", () => deck?.mix());
for (const button of element.querySelectorAll("[data-mode]")) button.addEventListener("click", () => hear(button.dataset.mode));
for (const canvas of [upper, lower]) {
  canvas.addEventListener("click", event => {
    const box = canvas.getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * take.samples / take.rate_hz);
  });
}
const keys = { a: () => hear("before"), b: () => hear("after"), r: () => hear("removed"), " ": play, ArrowLeft: () => seek((deck?.place ?? place) - 5), ArrowRight: () => seek((deck?.place ?? place) + 5) };
function press(event) {
  if (!element.isConnected) { document.removeEventListener("keydown", press); return; }
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || !take || !shown(element) || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const other = event.target.closest("button, input, summary, [role=tab], [role=slider]");
  if (other && (event.key === " " || event.key.startsWith("Arrow"))) return; // theirs
  event.preventDefault();
  action();
}
document.addEventListener("keydown", press);

watch("value", list);
watch("kept", () => { draw(); deck?.mix(); });
watch("ready", () => {
  if (!props.ready?.url) return;
  make("a", { href: props.ready.url, download: props.ready.name }).click();
});
list();
