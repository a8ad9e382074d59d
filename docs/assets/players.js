// Players that switch between versions of one recording without losing the place.
// <div class="player"><audio data-name="noisy" src="..."></audio> ... </div>
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function build(player) {
  const sounds = [...player.querySelectorAll("audio")];
  let heard = sounds[0];
  const bar = document.createElement("div");
  bar.className = "bar";
  const play = document.createElement("button");
  play.className = "play";
  const choices = sounds.map((sound) => {
    const button = document.createElement("button");
    button.textContent = sound.dataset.name;
    button.addEventListener("click", () => hear(sound));
    return button;
  });
  const place = document.createElement("input");
  Object.assign(place, { type: "range", min: 0, max: 1, step: "any", value: 0 });
  place.setAttribute("aria-label", "Position");
  const time = document.createElement("span");
  time.className = "time";
  bar.append(play, ...choices, place, time);
  const hint = document.createElement("p");
  hint.className = "hint";
  hint.textContent = "Switch while it plays: the place stays. Space plays and pauses, keys 1, 2, 3 switch.";
  player.append(bar, hint);
  player.tabIndex = 0;

  function show() {
    play.textContent = heard.paused ? "Play" : "Pause";
    choices.forEach((button, k) => button.setAttribute("aria-pressed", String(sounds[k] === heard)));
    const length = heard.duration || 0;
    place.value = length ? heard.currentTime / length : 0;
    time.textContent = `${clock(heard.currentTime)} / ${clock(length)}`;
  }
  function hear(sound) {
    if (sound === heard) return;
    const playing = !heard.paused;
    sound.currentTime = heard.currentTime;
    if (playing) sound.play();
    heard.pause();
    heard = sound;
    show();
  }
  function toggle() {
    if (heard.paused) heard.play();
    else heard.pause();
  }
  play.addEventListener("click", toggle);
  place.addEventListener("input", () => {
    heard.currentTime = place.value * (heard.duration || 0);
    show();
  });
  player.addEventListener("keydown", (event) => {
    const number = Number(event.key);
    if (event.key === " " && event.target === player) {
      event.preventDefault();
      toggle();
    } else if (number >= 1 && number <= sounds.length) hear(sounds[number - 1]);
  });
  for (const sound of sounds)
    for (const name of ["play", "pause", "timeupdate", "loadedmetadata", "ended"])
      sound.addEventListener(name, () => sound === heard && show());
  show();
}

document.querySelectorAll(".player").forEach(build);
