// A drawing whose parts with `data-choice` are chosen by click or by keyboard: Tab goes in, arrows go to the nearest part, Enter chooses.

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function middle(part) {
  const box = part.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}

// The nearest part in a direction; what lies aside of it counts double.
function nearest(parts, from, [right, down]) {
  const [x0, y0] = middle(from);
  let best = null, least = Infinity;
  for (const part of parts) {
    const [x, y] = middle(part);
    const ahead = (x - x0) * right + (y - y0) * down;
    const aside = Math.abs((x - x0) * down) + Math.abs((y - y0) * right);
    if (part !== from && ahead > 0.5 && aside <= 2 * ahead && ahead + 2 * aside < least) {
      [best, least] = [part, ahead + 2 * aside];
    }
  }
  return best;
}

function render({ model, el }) {
  const frame = document.createElement("div");
  const words = document.createElement("p");  // it stays, and only its text changes: else a screen reader would not notice
  frame.className = "dn3d-clickable";
  words.className = "dn3d-words";
  words.setAttribute("aria-live", "polite");
  el.append(frame, words);

  const parts = () => [...frame.querySelectorAll("[data-choice]")];
  const part_of = (event) => event.target.closest("[data-choice]");

  function mark() {
    for (const part of parts()) {
      const chosen = part.dataset.choice === model.get("choice");
      part.setAttribute("aria-pressed", chosen);
      part.classList.toggle("chosen", chosen);
      part.setAttribute("tabindex", chosen ? 0 : -1);
    }
    if (!parts().some((part) => part.classList.contains("chosen"))) parts()[0]?.setAttribute("tabindex", 0);
  }

  function draw() {
    frame.innerHTML = model.get("drawing");
    for (const part of parts()) part.setAttribute("role", "button");
    mark();
  }

  const say = () => (words.textContent = model.get("words"));

  function choose(part) {
    model.set("choice", part.dataset.choice);
    model.save_changes();
    part.focus();
  }

  frame.addEventListener("click", (event) => {
    const part = part_of(event);
    if (part) choose(part);
  });
  // JupyterLab has shortcuts on the same keys: here they belong to the drawing.
  frame.addEventListener("keydown", (event) => {
    const part = part_of(event);
    if (!part) return;
    if (event.key in DIRECTIONS) nearest(parts(), part, DIRECTIONS[event.key])?.focus();
    else if (event.key === "Enter" || event.key === " ") choose(part);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:drawing", draw);
  model.on("change:choice", mark);
  model.on("change:words", say);
  draw();
  say();
  return () => {
    model.off("change:drawing", draw);
    model.off("change:choice", mark);
    model.off("change:words", say);
  };
}

export default { render };
