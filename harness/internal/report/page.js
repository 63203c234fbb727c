"use strict";
// The filter: cases that lack the text, the verdict or the cause are hidden.
const form = document.querySelector(".filter");
if (form) {
  form.hidden = false;
  const filter = () => {
    const text = form.elements.text.value.toLowerCase();
    const verdict = form.elements.verdict.value;
    const cause = form.elements.cause.value;
    let shown = 0;
    const all = document.querySelectorAll("[data-case]");
    for (const one of all) {
      const d = one.dataset;
      const other = document.getElementById(one.querySelector("a")?.hash.slice(1));
      const words = d.case + " " + (other?.dataset.words ?? d.words ?? "");
      one.hidden = !(words.toLowerCase().includes(text) && (!verdict || d.verdict === verdict) &&
        (!cause || d.causes.split(" ").includes(cause)));
      shown += one.matches("li:not([hidden])");
    }
    form.querySelector("output").value = shown + " of " + document.querySelectorAll("li[data-case]").length + " cases";
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}
// The read-out: the element under the pointer, or under the arrow keys, in all three pictures.
for (const heat of document.querySelectorAll(".heat")) {
  const rows = +heat.dataset.rows, columns = +heat.dataset.columns;
  const bytes = Uint8Array.from(atob(heat.dataset.values), (c) => c.charCodeAt(0));
  const values = new Float32Array(bytes.buffer), size = values.length / 3;
  const panels = [...heat.querySelectorAll(".panel")], output = heat.querySelector("output");
  let at = 0;
  const show = () => {
    const panel = panels[Math.floor(at / (rows * columns))], inside = at % (rows * columns);
    const place = panel.dataset.place && panel.dataset.place + ", ";
    output.value = place + "row " + Math.floor(inside / columns) + ", column " + inside % columns + ": got " +
      values[at].toPrecision(8) + ", want " + values[size + at].toPrecision(8) + ", z " + values[2 * size + at].toPrecision(3);
  };
  heat.tabIndex = 0;
  output.value = "Point at an element, or move with the arrow keys.";
  heat.addEventListener("pointermove", (event) => {
    if (event.target.tagName !== "IMG") return;
    const box = event.target.getBoundingClientRect(), first = +event.target.closest(".panel").dataset.first;
    const within = (part, count) => Math.min(count - 1, Math.max(0, Math.floor(part * count)));
    at = first + within((event.clientY - box.top) / box.height, rows) * columns +
      within((event.clientX - box.left) / box.width, columns);
    show();
  });
  heat.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!step) return;
    event.preventDefault();
    at = Math.min(size - 1, Math.max(0, at + step));
    show();
  });
}
