// The microphone, block by block to the server and back, played as it comes.
const { bytes } = window.tinysignal;
const $ = name => element.querySelector(name);
const BLOCK_S = 0.06, RESERVE_S = 0.12, FLOOR_DB = -60, TRACE_S = 10, FALL_DB = 2.5; // a meter's fall for each block
const COLLECTOR = `registerProcessor("collector", class extends AudioWorkletProcessor {
  constructor() { super(); this.kept = []; this.count = 0; }
  process([[channel]]) {
    if (channel) { this.kept.push(channel.slice()); this.count += channel.length; }
    if (this.count >= ${BLOCK_S} * sampleRate) {
      const block = new Float32Array(this.count);
      let at = 0;
      for (const part of this.kept) { block.set(part, at); at += part.length; }
      this.kept = []; this.count = 0;
      this.port.postMessage(block, [block.buffer]);
    }
    return true;
  }
});`;
let line = null;

async function start() {
  const mine = line = { id: crypto.getRandomValues(new Uint32Array(4)).join("-"), queue: [], next: 0, dropouts: 0, blocks: 0, trace: [] };
  state("Asking for the microphone\u2026", true);
  try {
    mine.media = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 } });
    mine.sound = new AudioContext({ latencyHint: "interactive" });
    const place = URL.createObjectURL(new Blob([COLLECTOR], { type: "text/javascript" }));
    await mine.sound.audioWorklet.addModule(place);
    URL.revokeObjectURL(place);
  } catch (error) {
    stop(error.name === "NotAllowedError" ? "The browser does not let this page use the microphone." : navigator.mediaDevices ? "No microphone can be used (" + error.message + ")." : "The browser gives the microphone to pages on this machine or over TLS only.");
    return;
  }
  if (!await begin(mine)) return;
  mine.collector = new AudioWorkletNode(mine.sound, "collector");
  mine.sound.createMediaStreamSource(mine.media).connect(mine.collector);
  mine.loud = mine.sound.createGain();
  mine.loud.gain.value = hearing() ? 1 : 0;
  mine.loud.connect(mine.sound.destination);
  mine.collector.port.onmessage = event => { mine.queue.push([event.data, performance.now()]); send(mine); };
  state("Listening.", true);
}

async function begin(mine) {
  const found = await server.begin({ id: mine.id, rate_hz: mine.sound.sampleRate, limit: Number($(".strength input").value) });
  if (line !== mine) return false;
  if (found.error) { stop(found.error); return false; }
  fact("network", found.latency_ms.toFixed(0) + " ms");
  return true;
}

async function send(mine) { // one block at a time keeps their order; what waits goes together
  if (mine.busy || line !== mine || !mine.queue.length) return;
  mine.busy = true;
  const waiting = mine.queue.splice(0), came = waiting[0][1];
  const block = new Float32Array(waiting.reduce((sum, [part]) => sum + part.length, 0));
  let at = 0;
  for (const [part] of waiting) { block.set(part, at); at += part.length; }
  const whole = Int16Array.from(block, value => Math.max(-32768, Math.min(32767, Math.round(value * 32768))));
  let text = "";
  const raw = new Uint8Array(whole.buffer);
  for (let from = 0; from < raw.length; from += 8192) text += String.fromCharCode(...raw.subarray(from, from + 8192));
  const answer = await server.feed({ id: mine.id, block: btoa(text) });
  mine.busy = false;
  if (line !== mine) return;
  if (answer.error) { stop(answer.error); return; }
  const cleaned = new Int16Array(bytes(answer.block).buffer);
  play(mine, cleaned, came, block.length / mine.sound.sampleRate);
  show(mine, level(whole), level(cleaned), answer.work_ms);
  send(mine);
}

function play(mine, samples, came, length_s) {
  if (!samples.length) return;
  const { sound } = mine, buffer = sound.createBuffer(1, samples.length, sound.sampleRate);
  const channel = buffer.getChannelData(0);
  for (let at = 0; at < samples.length; at++) channel[at] = samples[at] / 32767;
  if (mine.next < sound.currentTime) {
    if (mine.blocks > 0) mine.dropouts++;
    mine.next = sound.currentTime + RESERVE_S;
  }
  const source = sound.createBufferSource();
  source.buffer = buffer;
  source.connect(mine.loud);
  source.start(mine.next);
  const waited_ms = performance.now() - came + 1000 * (mine.next - sound.currentTime + length_s + (sound.outputLatency || 0));
  mine.total = mine.total ? 0.9 * mine.total + 0.1 * waited_ms : waited_ms;
  mine.next += buffer.duration;
  mine.blocks++;
}

function level(samples) {
  let sum = 0;
  for (const value of samples) sum += value * value;
  return Math.max(FLOOR_DB, 10 * Math.log10(sum / Math.max(1, samples.length) / 32767 ** 2 + 1e-12));
}

function show(mine, heard, left, work_ms) {
  const now = mine.sound.currentTime;
  mine.peaks = [heard, left].map((value, side) => Math.max(value, (mine.peaks?.[side] ?? FLOOR_DB) - FALL_DB));
  mine.peaks.forEach((value, side) => {
    const meter = element.querySelectorAll(".meter")[side];
    meter.firstElementChild.style.width = 100 * (1 - value / FLOOR_DB) + "%";
    meter.setAttribute("aria-valuenow", value.toFixed(0));
    $("[data-level=" + (side ? "out" : "in") + "]").textContent = "\u2212" + Math.abs(value).toFixed(0) + " dB";
  });
  mine.trace.push([now, heard, left]);
  while (mine.trace.length && mine.trace[0][0] < now - TRACE_S) mine.trace.shift();
  draw(mine, now);
  if (mine.total) fact("total", mine.total.toFixed(0) + " ms");
  mine.work = mine.work ? 0.9 * mine.work + 0.1 * work_ms : work_ms;
  fact("work", mine.work.toFixed(1) + " ms of " + (1000 * BLOCK_S).toFixed(0));
  fact("dropouts", mine.dropouts);
  element.dataset.blocks = mine.blocks;
}

function draw(mine, now) {
  const canvas = $(".trace"), pen = canvas.getContext("2d"), style = getComputedStyle($(".meter"));
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.lineWidth = 2.5;
  [[1, style.getPropertyValue("--faint"), style.color], [2, style.getPropertyValue("--accent")]].forEach(([column, colour, other]) => {
    pen.strokeStyle = column === 1 ? other : colour;
    pen.globalAlpha = column === 1 ? 0.4 : 1;
    pen.beginPath();
    mine.trace.forEach((row, at) => {
      const x = canvas.width * (1 - (now - row[0]) / TRACE_S), y = 4 + (canvas.height - 8) * (row[column] / FLOOR_DB);
      pen[at ? "lineTo" : "moveTo"](x, y);
    });
    pen.stroke();
  });
  pen.globalAlpha = 1;
}

const fact = (name, text) => { $("[data-fact=" + name + "]").textContent = text; };
const hearing = () => $(".hear input[type=checkbox]").checked;

function state(text, on) {
  $(".said").textContent = text;
  const button = $(".start");
  button.textContent = on ? "Stop" : "Start the microphone";
  button.setAttribute("aria-pressed", String(on));
}

function stop(text = "Stopped.") {
  for (const track of line?.media?.getTracks() ?? []) track.stop();
  line?.sound?.close();
  line = null;
  state(text, false);
}

$(".start").addEventListener("click", () => { if (line) stop(); else start(); });
$(".hear input[type=checkbox]").addEventListener("change", () => { if (line?.loud) line.loud.gain.value = hearing() ? 1 : 0; });
$(".strength input").addEventListener("input", event => {
  const value = Number(event.target.value);
  $(".strength output").textContent = value >= props.value.no_limit_db ? "no limit" : value + " dB";
});
$(".strength input").addEventListener("change", () => { if (line?.loud) begin(line); });
