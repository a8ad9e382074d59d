// What the page's own parts share.
window.tinysignal = (() => {
  const STOPS = [ // magma
    [0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122],
    [229, 80, 100], [251, 135, 97], [254, 194, 135], [252, 253, 191],
  ];
  const magma = new Uint8Array(256 * 3);
  for (let level = 0; level < 256; level++) {
    const place = level / 255 * (STOPS.length - 1), below = Math.min(Math.floor(place), STOPS.length - 2);
    for (let part = 0; part < 3; part++) {
      magma[level * 3 + part] = STOPS[below][part] + (place - below) * (STOPS[below + 1][part] - STOPS[below][part]);
    }
  }
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const clock = seconds => {
    const whole = Math.max(0, Math.round(seconds)), rest = String(whole % 60).padStart(2, "0");
    const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
    return hours ? hours + ":" + String(minutes).padStart(2, "0") + ":" + rest : minutes + ":" + rest;
  };
  const make = (name, options = {}, ...inside) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key in element && key !== "list") element[key] = value; else element.setAttribute(key, value);
    }
    element.append(...inside);
    return element;
  };
  const typing = target => !!target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable], [role=listbox], dialog");
  const shown = element => element.offsetParent !== null;
  return { magma, bytes, clock, make, typing, shown };
})();
