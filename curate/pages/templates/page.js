"use strict";
(() => {
  const items = [...document.querySelectorAll("[data-find]")];
  const byId = (id) => document.getElementById(id);
  const filter = byId("filter"), zoom = byId("zoom"), image = byId("zoom-image");
  let current = null;

  // From item to item.
  document.addEventListener("focusin", (event) => {
    current = event.target.closest("[data-find]") || current;
  });
  function step(by) {
    const shown = items.filter((item) => !item.hidden);
    const at = shown.indexOf(current);
    const next = at < 0 ? (by > 0 ? shown[0] : shown.at(-1)) : shown[at + by];
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "start" }); }
  }

  // The filter: an item is shown if it has all the words.
  function sift() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const item of items) {
      item.hidden = !words.every((word) => item.dataset.find.includes(word));
      left += !item.hidden;
    }
    byId("matches").textContent = words.length ? `${left} of ${items.length}` : "";
  }
  if (filter) { filter.addEventListener("input", sift); sift(); }

  // A command, into the clipboard.
  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a browser that keeps the clipboard from local files
      getSelection().selectAllChildren(button.previousElementSibling);
      if (!document.execCommand("copy")) { tell("Press Ctrl+C to copy"); return; }
      getSelection().removeAllRanges();
    }
    tell(`Copied: ${text}`);
  }
  let timer;
  function tell(text) {
    byId("told").textContent = text;
    clearTimeout(timer);
    timer = setTimeout(() => { byId("told").textContent = ""; }, 2500);
  }

  // One picture at a time, all of an item at the same place: what differs is what moves.
  let pictures = [], at = 0;
  function show(index) {
    at = (index + pictures.length) % pictures.length;
    image.src = pictures[at].firstElementChild.src;
    image.alt = pictures[at].firstElementChild.alt;
    byId("zoom-place").textContent = `${at + 1} of ${pictures.length}`;
    byId("zoom-name").textContent = pictures[at].dataset.name;
  }
  function enlarge(button) {
    pictures = [...button.closest("[data-find]").querySelectorAll("button.picture")];
    show(pictures.indexOf(button));
    zoom.showModal();
    image.focus(); // and not the button to close it, which Space would press
  }
  image.addEventListener("click", () => show(at + 1));
  zoom.addEventListener("click", (event) => { if (event.target === zoom) zoom.close(); });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    else if (button?.matches(".picture")) enlarge(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key;
    let done = true;
    if (zoom.open) {
      if (key === " " || key === "ArrowRight") show(at + 1);
      else if (key === "ArrowLeft") show(at - 1);
      else done = false;
    } else if (event.target === filter) {
      if (key === "Escape") { filter.value = ""; sift(); filter.blur(); }
      else if (key === "Enter") { filter.blur(); current = null; step(1); }
      else done = false;
    } else if (key === "j" || key === "ArrowRight") step(1);
    else if (key === "k" || key === "ArrowLeft") step(-1);
    else if (key === "/" && filter) filter.focus();
    else if (key === "c" && current?.querySelector("[data-copy]")) copy(current.querySelector("[data-copy]"));
    else if (key === "Enter" && event.target === current) {
      const first = current.querySelector("button.picture");
      if (first) enlarge(first);
    } else done = false;
    if (done) event.preventDefault();
  });
})();
