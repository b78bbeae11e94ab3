// Keeps a list of the staff pages fresh: cells change in place, so that ticks, focus and places stay.
// New rows are only announced. Nothing is asked while the page is hidden or paused.
"use strict";

(() => {
  const EVERY_MS = 5000;
  const bar = document.getElementById("live");
  const list = document.getElementById("result_list");
  if (!bar || !list) return;
  const button = bar.querySelector("button");
  const said = bar.querySelector("[role=status]");
  const keeping = said.textContent;
  let isPaused = false;

  const rowsOf = (root) => {
    const links = root.querySelectorAll("#result_list tbody th a");
    return new Map([...links].map((link) => [new URL(link.href, location).pathname, link.closest("tr")]));
  };

  function freshen(row, fresh) {
    [...row.cells].forEach((cell, index) => {
      const other = fresh.cells[index];
      if (cell.classList.contains("action-checkbox") || !other) return;
      if (cell.innerHTML !== other.innerHTML && !cell.contains(document.activeElement)) {
        cell.innerHTML = other.innerHTML;
      }
    });
  }

  async function look() {
    if (isPaused || document.hidden) return;
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [ours, theirs] = [rowsOf(document), rowsOf(fresh)];
    for (const [id, row] of theirs) if (ours.has(id)) freshen(ours.get(id), row);
    const chart = document.getElementById("live-chart");
    const other = fresh.getElementById("live-chart");
    const isRead = chart?.querySelector("details[open]") || chart?.contains(document.activeElement);
    if (chart && other && !isRead && chart.innerHTML !== other.innerHTML) chart.innerHTML = other.innerHTML;
    const isNew = [...theirs.keys()].some((id) => !ours.has(id));
    const text = isNew ? said.dataset.newer : keeping;
    if (said.textContent !== text) said.textContent = text;
    bar.querySelector("a").hidden = !isNew;
  }

  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? bar.dataset.goOn : bar.dataset.pause;
  });
  bar.querySelector("a").href = location.href;
  bar.hidden = false;
  setInterval(() => look().catch(() => undefined), EVERY_MS);
})();
