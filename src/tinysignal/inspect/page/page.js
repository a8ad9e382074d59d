"use strict";
// Maps, legend, and the card that shows an example. All text goes in as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const card = document.getElementById("card");
  const said = document.getElementById("said");
  const hidden = new Set(); // classes
  const CELL = 6; // pixels: the grid of what is covered on a map
  let errorsOnly = false;
  let names = document.querySelector('[data-tool="names"]').ariaPressed === "true";
  let held = null; // the example, a number of the shown ones, that stays marked
  let pointed = null; // the example under the pointer

  const isWrong = (shown) => data.labels[shown] !== data.predicted[shown];
  const isVisible = (shown) => !hidden.has(data.labels[shown]) && (!errorsOnly || isWrong(shown));
  const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)} %`;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const element = (tag, text = "", className = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // ---- the card of one example ----

  const describe = (shown) => {
    const label = data.classes[data.labels[shown]];
    const guess = data.classes[data.predicted[shown]];
    const sure = percent(data.top[shown][1]);
    return isWrong(shown)
      ? `true ${label}, predicted ${guess} (${sure})`
      : `${label}, predicted so (${sure})`;
  };

  const fillCard = (shown) => {
    const picture = element("span", "", "pic");
    const row = Math.floor(shown / data.columns);
    const place = (number, count) => `${(100 * number) / Math.max(1, count - 1)}%`;
    picture.style.backgroundPosition =
      `${place(shown % data.columns, data.columns)} ${place(row, data.rows)}`;
    const label = element("p", `true: ${data.classes[data.labels[shown]]}`);
    const guess = element("p", `predicted: ${data.classes[data.predicted[shown]]}`);
    guess.style.margin = "0";
    if (isWrong(shown)) guess.className = "wrong";
    card.replaceChildren(picture, label, guess);
    const bars = element("div", "", "bars");
    const top = data.top[shown]; // class, probability, class, probability, ...
    for (let i = 0; i < top.length; i += 2) {
      const bar = element("i");
      bar.style.width = `${100 * top[i + 1]}%`;
      bar.style.setProperty("--colour", data.colours[top[i]]);
      bars.append(element("span", data.classes[top[i]]), bar, element("span", percent(top[i + 1])));
    }
    card.append(bars);
    card.append(element("p", `example ${data.positions[shown]}`));
  };

  const showCard = (shown, x, y) => {
    fillCard(shown);
    card.hidden = false;
    const { width, height } = card.getBoundingClientRect();
    const right = x + 18 + width < innerWidth ? x + 18 : x - 18 - width;
    card.style.left = `${Math.max(4, Math.min(right, innerWidth - width - 4))}px`;
    card.style.top = `${Math.max(4, Math.min(y - height / 3, innerHeight - height - 4))}px`;
  };

  const dockCard = () => {
    if (held === null) {
      card.hidden = true;
      return;
    }
    showCard(held, innerWidth, innerHeight); // in the corner
  };

  // ---- maps ----

  class PointMap {
    constructor(figure, flat) {
      this.plot = figure.querySelector(".plot");
      this.x = flat.filter((_, i) => i % 2 === 0);
      this.y = flat.filter((_, i) => i % 2 === 1);
      this.base = element("canvas");
      this.top = element("canvas");
      this.plot.append(this.base, this.top);
      this.home = this.bounds();
      this.medians = this.classMedians();
      this.reset();
      this.drag = null;
      this.listen(figure);
    }

    bounds() {
      const low = (all) => all.reduce((a, b) => Math.min(a, b), Infinity);
      const high = (all) => all.reduce((a, b) => Math.max(a, b), -Infinity);
      const [left, right, bottom, top] = [low(this.x), high(this.x), low(this.y), high(this.y)];
      return { x: (left + right) / 2, y: (bottom + top) / 2, w: right - left || 1, h: top - bottom || 1 };
    }

    classMedians() {
      const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
      return data.classes.map((_, label) => {
        const own = this.x.map((_, i) => i).filter((i) => data.labels[data.sample[i]] === label);
        return own.length ? [median(own.map((i) => this.x[i])), median(own.map((i) => this.y[i]))] : null;
      });
    }

    reset() {
      this.zoom = 1;
      this.centre = [this.home.x, this.home.y];
    }

    // Pixels for one unit of the map, the same on both axes: distances mean something.
    get scale() {
      return Math.min((0.92 * this.width) / this.home.w, (0.92 * this.height) / this.home.h) * this.zoom;
    }

    at(x, y) {
      return [
        this.width / 2 + (x - this.centre[0]) * this.scale,
        this.height / 2 - (y - this.centre[1]) * this.scale,
      ];
    }

    fit() {
      const { width, height } = this.plot.getBoundingClientRect();
      [this.width, this.height] = [width, height];
      const dots = devicePixelRatio || 1;
      for (const canvas of [this.base, this.top]) {
        canvas.width = Math.round(width * dots);
        canvas.height = Math.round(height * dots);
        canvas.getContext("2d").setTransform(dots, 0, 0, dots, 0, 0);
      }
      this.draw();
    }

    draw() {
      if (!this.width) return;
      const pen = this.base.getContext("2d");
      pen.clearRect(0, 0, this.width, this.height);
      const radius = Math.min(6, (this.width < 420 ? 2 : 2.6) * Math.sqrt(this.zoom));
      const shown = this.x.map((_, i) => i).filter((i) => isVisible(data.sample[i]));
      const dot = (i) => {
        const [x, y] = this.at(this.x[i], this.y[i]);
        pen.beginPath();
        pen.arc(x, y, radius, 0, 2 * Math.PI);
      };
      for (const i of shown) {
        pen.fillStyle = data.colours[data.labels[data.sample[i]]];
        dot(i);
        pen.fill();
      }
      pen.lineWidth = 1.4;
      pen.strokeStyle = style("--ink");
      for (const i of shown) {
        if (!isWrong(data.sample[i])) continue;
        pen.fillStyle = data.colours[data.labels[data.sample[i]]];
        dot(i);
        pen.fill();
        pen.stroke();
      }
      if (names) this.drawNames(pen);
      this.mark();
    }

    drawNames(pen) {
      pen.font = "bold 15px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.lineJoin = "round";
      this.places = [];
      const dots = this.x.map((_, i) => i).filter((i) => isVisible(data.sample[i]));
      const occupied = new Map();
      for (const i of dots) {
        const [x, y] = this.at(this.x[i], this.y[i]);
        const cell = `${Math.floor(x / CELL)},${Math.floor(y / CELL)}`;
        occupied.set(cell, (occupied.get(cell) || 0) + 1);
      }
      this.medians.forEach((middle, label) => {
        if (!middle || hidden.has(label)) return;
        const name = data.classes[label];
        const text = name.length > 16 ? `${name.slice(0, 15)}…` : name;
        const [from, to] = this.at(...middle);
        if (from < 0 || to < 0 || from > this.width || to > this.height) return;
        const place = this.freePlace([from, to], [pen.measureText(text).width + 10, 22], occupied);
        const [x, y] = place;
        this.places.push({ label, x, y, box: place.box, covered: place.covered });
        if (Math.hypot(x - from, y - to) > 24) {
          pen.lineWidth = 1;
          pen.strokeStyle = style("--ink");
          pen.beginPath();
          pen.moveTo(from, to);
          pen.lineTo(x, y);
          pen.stroke();
        }
        pen.lineWidth = 4;
        pen.strokeStyle = style("--panel");
        pen.strokeText(text, x, y);
        pen.fillStyle = style("--ink");
        pen.fillText(text, x, y);
      });
    }

    // The nearest place for a name that covers no dot and no other name; else that of fewest dots.
    freePlace(middle, [w, h], occupied) {
      let best = null;
      for (let ring = 0; ring <= 24; ring++) {
        for (let turn = 0; turn < (ring ? 24 : 1); turn++) {
          const angle = (turn * Math.PI) / 12;
          const x = middle[0] + ring * 9 * Math.cos(angle);
          const y = middle[1] + ring * 9 * Math.sin(angle);
          const box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
          if (box[0] < 0 || box[1] < 0 || box[2] > this.width || box[3] > this.height) continue;
          const clash = ({ box: b }) => box[0] < b[2] && box[2] > b[0] && box[1] < b[3] && box[3] > b[1];
          if (this.places.some(clash)) continue;
          let covered = 0;
          for (let i = Math.floor(box[0] / CELL); i <= Math.floor(box[2] / CELL); i++) {
            for (let j = Math.floor(box[1] / CELL); j <= Math.floor(box[3] / CELL); j++) {
              covered += occupied.get(`${i},${j}`) || 0;
            }
          }
          if (!best || covered < best.covered) best = Object.assign([x, y], { box, covered });
          if (!covered) return best;
        }
      }
      return best || Object.assign([...middle], { box: [0, 0, 0, 0], covered: 0 });
    }

    // The example that is pointed at or held, found again on this map.
    mark() {
      const pen = this.top.getContext("2d");
      pen.clearRect(0, 0, this.width, this.height);
      for (const shown of new Set([held, pointed])) {
        const i = shown === null ? -1 : data.sample.indexOf(shown);
        if (i < 0) continue;
        const [x, y] = this.at(this.x[i], this.y[i]);
        for (const [colour, width] of [[style("--panel"), 6], [style("--ink"), 2.5]]) {
          pen.beginPath();
          pen.arc(x, y, 9, 0, 2 * Math.PI);
          pen.lineWidth = width;
          pen.strokeStyle = colour;
          pen.stroke();
        }
        pen.beginPath();
        pen.arc(x, y, 5, 0, 2 * Math.PI);
        pen.fillStyle = data.colours[data.labels[shown]];
        pen.fill();
      }
    }

    nearest(x, y, reach = 14) {
      let [best, least] = [null, reach * reach];
      this.x.forEach((_, i) => {
        if (!isVisible(data.sample[i])) return;
        const [px, py] = this.at(this.x[i], this.y[i]);
        const distance = (px - x) ** 2 + (py - y) ** 2;
        if (distance < least) [best, least] = [data.sample[i], distance];
      });
      return best;
    }

    // The next dot from the current one towards an arrow key's direction.
    neighbour(dx, dy) {
      const from = held === null ? -1 : data.sample.indexOf(held);
      if (from < 0 || !isVisible(held)) return this.nearest(this.width / 2, this.height / 2, 1e6);
      const [x, y] = this.at(this.x[from], this.y[from]);
      let [best, least] = [null, Infinity];
      this.x.forEach((_, i) => {
        if (i === from || !isVisible(data.sample[i])) return;
        const [px, py] = this.at(this.x[i], this.y[i]);
        const along = (px - x) * dx + (py - y) * dy;
        const aside = Math.abs((px - x) * dy - (py - y) * dx);
        if (along > 0.5 && aside <= along && along + aside < least) {
          [best, least] = [data.sample[i], along + aside];
        }
      });
      return best;
    }

    zoomBy(factor, x = this.width / 2, y = this.height / 2) {
      const zoom = Math.max(0.5, Math.min(60, this.zoom * factor));
      // What lies under the pointer stays there.
      const shift = (1 / this.scale) * (1 - this.zoom / zoom);
      this.centre[0] += (x - this.width / 2) * shift;
      this.centre[1] -= (y - this.height / 2) * shift;
      this.zoom = zoom;
      this.draw();
    }

    where(event) {
      const box = this.plot.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }

    listen(figure) {
      const plot = this.plot;
      plot.addEventListener("pointermove", (event) => this.move(event));
      plot.addEventListener("pointerleave", () => point(null));
      plot.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        this.drag = { x: event.clientX, y: event.clientY, far: false };
        if (event.pointerType === "mouse") plot.setPointerCapture(event.pointerId);
      });
      plot.addEventListener("pointerup", (event) => {
        const wasDragged = this.drag && this.drag.far;
        this.drag = null;
        if (!wasDragged) hold(this.nearest(...this.where(event), event.pointerType === "touch" ? 24 : 14));
      });
      plot.addEventListener("pointercancel", () => (this.drag = null));
      plot.addEventListener("wheel", (event) => {
        // A page that is scrolled past a map must not stop there.
        if (document.activeElement !== plot && !event.ctrlKey) return;
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * 0.0015), ...this.where(event));
      }, { passive: false });
      plot.addEventListener("keydown", (event) => this.key(event));
      for (const button of figure.querySelectorAll(".tools button")) {
        button.addEventListener("click", () => this.tool(button.dataset.tool));
      }
    }

    move(event) {
      if (this.drag && event.pointerType === "mouse") {
        const [dx, dy] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
        if (this.drag.far || Math.hypot(dx, dy) > 4) {
          this.centre[0] -= dx / this.scale;
          this.centre[1] += dy / this.scale;
          this.drag = { x: event.clientX, y: event.clientY, far: true };
          this.draw();
        }
        return;
      }
      const shown = this.nearest(...this.where(event));
      point(shown);
      if (shown !== null) showCard(shown, event.clientX, event.clientY);
    }

    tool(name) {
      if (name === "in") this.zoomBy(1.5);
      if (name === "out") this.zoomBy(1 / 1.5);
      if (name === "reset") {
        this.reset();
        this.draw();
      }
    }

    key(event) {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const tools = { "+": "in", "=": "in", "-": "out", "0": "reset" };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in arrows) {
        const next = this.neighbour(...arrows[event.key]);
        if (next !== null) this.holdHere(next);
      } else if (event.key in tools) this.tool(tools[event.key]);
      else return;
      event.preventDefault();
    }

    holdHere(shown) {
      hold(shown);
      const i = data.sample.indexOf(shown);
      const box = this.plot.getBoundingClientRect();
      const [x, y] = this.at(this.x[i], this.y[i]);
      showCard(shown, box.left + x, box.top + y);
    }
  }

  const maps = [...document.querySelectorAll(".map")].map(
    (figure, i) => new PointMap(figure, data.maps[i]),
  );
  const redraw = () => maps.forEach((map) => map.draw());

  // ---- pointing and holding ----

  const mark = () => {
    maps.forEach((map) => map.mark());
    for (const one of document.querySelectorAll(".example")) {
      const shown = Number(one.dataset.shown);
      one.classList.toggle("held", shown === held || shown === pointed);
    }
  };

  const point = (shown) => {
    if (shown === pointed) return;
    pointed = shown;
    if (shown === null) dockCard();
    mark();
  };

  const hold = (shown) => {
    held = shown;
    said.textContent = shown === null ? "" : describe(shown);
    if (pointed === null) dockCard();
    mark();
  };

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    pointed = null;
    hold(null);
  });

  // ---- examples: one stop for the tab key, arrows within ----

  for (const list of document.querySelectorAll(".ranked")) {
    const examples = [...list.querySelectorAll(".example")];
    examples.forEach((one, i) => {
      const shown = Number(one.dataset.shown);
      one.tabIndex = i ? -1 : 0;
      one.addEventListener("pointermove", (event) => {
        point(shown);
        showCard(shown, event.clientX, event.clientY);
      });
      one.addEventListener("pointerleave", () => point(null));
      one.addEventListener("click", () => hold(held === shown ? null : shown));
      one.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10 };
        const next = examples[i + (steps[event.key] || NaN)];
        if (!next) return;
        event.preventDefault();
        one.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    });
  }

  // ---- legend ----

  const legend = document.getElementById("legend");
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));
  const classButtons = [...legend.querySelectorAll("[data-class]")];
  const showClasses = (wanted) => {
    classButtons.forEach((button, label) => {
      press(button, wanted(label));
      if (wanted(label)) hidden.delete(label);
      else hidden.add(label);
    });
    redraw();
  };
  classButtons.forEach((button, label) => {
    button.addEventListener("click", () => {
      showClasses((other) => (other === label ? hidden.has(label) : !hidden.has(other)));
    });
    button.addEventListener("dblclick", () => showClasses((other) => other === label));
  });
  legend.querySelector('[data-tool="all"]').addEventListener("click", () => {
    showClasses(() => hidden.size > 0);
  });
  legend.querySelector('[data-tool="errors"]').addEventListener("click", (event) => {
    errorsOnly = !errorsOnly;
    press(event.currentTarget, errorsOnly);
    redraw();
  });
  legend.querySelector('[data-tool="names"]').addEventListener("click", (event) => {
    names = !names;
    press(event.currentTarget, names);
    redraw();
  });

  // ---- size and colours ----

  const sizes = new ResizeObserver((changes) => {
    for (const change of changes) maps.find((map) => map.plot === change.target).fit();
  });
  maps.forEach((map) => sizes.observe(map.plot));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
  addEventListener("resize", () => pointed === null && dockCard());
})();
