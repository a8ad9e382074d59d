// The page of a run, as it would open from disk: no origin, no network.
const { make } = window.tinysignal;
const $ = name => element.querySelector(name);
let asked = 0, opened = false;

async function show(anew) {
  const mine = ++asked, run = $(".run").value;
  $(".make").hidden = true;
  $("iframe").hidden = true;
  $(".state").textContent = anew ? "Looking inside, which may take minutes\u2026" : "";
  const found = await server.written({ run, make: anew });
  if (mine !== asked) return;
  $(".state").textContent = found.error ?? "";
  if (found.missing) {
    $(".make").hidden = false;
    $(".state").textContent = "There is no page in this run yet; 'tinysignal inspect' makes one, too.";
  }
  if (found.html) {
    $("iframe").srcdoc = found.html;
    $("iframe").hidden = false;
  }
}

const { runs } = props.value;
$(".empty").hidden = runs.length > 0;
$(".bench").hidden = runs.length === 0;
$(".run").replaceChildren(...runs.map(path => make("option", { value: path }, path.split("/").pop())));
$(".run").addEventListener("change", () => show(false));
$(".make").addEventListener("click", () => show(true));
new IntersectionObserver(entries => {
  if (opened || !runs.length || !entries.some(entry => entry.isIntersecting)) return;
  opened = true;
  show(false);
}).observe(element);
