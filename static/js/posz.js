// Makes pages that work without script nicer: the drawer with its history, toasts, menus that close,
// search as you type, settings that appear when they matter, lists that keep themselves fresh.
"use strict";

(() => {
  const drawer = document.getElementById("drawer");
  const body = document.getElementById("drawer-body");
  const here = () => location.pathname + location.search;
  // The address whose content the document under the drawer shows.
  let ground = here();
  let opener = null;
  let ticked = [];

  function toast(text) {
    const place = drawer?.open ? drawer.querySelector(".toasts") : document.getElementById("toasts");
    if (!place) return;
    const item = document.createElement("div");
    item.className = "toast";
    const words = document.createElement("span");
    words.textContent = text;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button--quiet";
    button.textContent = document.body.dataset.dismiss;
    button.addEventListener("click", () => item.remove());
    item.append(words, button);
    place.replaceChildren(item);
    setTimeout(() => item.remove(), 8000);
  }

  async function open(url) {
    await htmx.ajax("GET", url, { target: "#drawer-body", swap: "innerHTML" });
    if (!body.firstElementChild) return false;
    if (!drawer.open) drawer.showModal();
    body.scrollTop = 0;
    document.getElementById("detail-title")?.focus();
    return true;
  }

  async function follow(link) {
    link.setAttribute("aria-busy", "true");
    const wasOpen = drawer.open;
    if (!wasOpen) opener = link.id;
    const isOpen = await open(link.href);
    link.removeAttribute("aria-busy");
    if (!isOpen) return;
    const url = new URL(link.href);
    history[wasOpen ? "replaceState" : "pushState"]({ drawer: url.pathname }, "", url);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);
    if (drawer && window.htmx && isPlain && link?.matches("[data-drawer]")) {
      if (document.getElementById("results")) {
        event.preventDefault();
        follow(link);
      }
    }
    if (drawer?.open && isPlain && link?.matches("[data-close]")) {
      event.preventDefault();
      drawer.close();
    }
    if (link?.closest(".languages")) {
      // The search may have moved the address since this link was drawn.
      const url = new URL(location);
      url.searchParams.set("lang", link.hreflang);
      link.href = url;
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // Shown by script only, because they do nothing without it.
  function showCopyButtons() {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  }
  document.addEventListener("DOMContentLoaded", showCopyButtons);
  document.addEventListener("htmx:load", showCopyButtons);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    toast(button.dataset.copied);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  drawer?.addEventListener("click", (event) => {
    if (event.target === drawer) drawer.close();
  });

  drawer?.addEventListener("close", () => {
    body.replaceChildren();
    drawer.querySelector(".toasts").replaceChildren();
    if (history.state?.drawer) history.back();
    document.getElementById(opener)?.focus();
  });

  window.addEventListener("popstate", () => {
    if (history.state?.drawer && here() !== ground) open(here());
    else if (here() !== ground) location.reload();
    else if (drawer?.open) drawer.close();
  });

  // What was typed before the scripts had come, over a slow line, is searched now.
  window.addEventListener("load", () => {
    const field = document.querySelector("input[type='search'][hx-get]");
    if (field && field.value !== field.defaultValue) htmx.trigger(field, "search");
  });

  // Of what htmx brings

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    // A whole page instead of a part: the session is over, and this is the sign-in page.
    if (/^\s*<!doctype/i.test(xhr.responseText)) {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "results" || drawer?.open) return;
    const url = new URL(event.detail.pathInfo.finalRequestPath, location);
    if (!url.searchParams.get("q")) url.searchParams.delete("q");
    ground = url.pathname + url.search;
    history.replaceState(history.state, "", url);
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    showRelevant(document);
    if (["results", "live"].includes(event.detail.requestConfig?.target?.id)) return;
    if (document.activeElement && document.activeElement !== document.body && document.activeElement !== drawer) return;
    const place = document.querySelector("[aria-invalid='true']") ?? document.querySelector("[data-focus]") ?? document.getElementById("detail-title");
    place?.focus();
  });

  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(name, () => toast(document.body.dataset.unreachable));
  }
  document.addEventListener("posz:toast", (event) => toast(event.detail.text));
  document.addEventListener("posz:changed", () => {
    if (drawer?.open && document.getElementById("results")) {
      const url = document.getElementById("live")?.dataset.url ?? ground;
      htmx.ajax("GET", url, { target: "#results", swap: "innerHTML" });
    }
  });

  // A part of a page that keeps itself fresh: not while nobody looks, and what is ticked stays ticked

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.matches("[hx-trigger^='every']")) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!["live", "results"].includes(event.detail.target.id)) return;
    // Text that somebody is marking would be gone from under the pointer.
    const marked = getSelection();
    if (event.detail.elt.id === "live" && !marked.isCollapsed && event.detail.target.contains(marked.anchorNode)) {
      event.detail.shouldSwap = false;
    }
    ticked = [...event.detail.target.querySelectorAll("input:checked")].map((box) => box.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of ticked.splice(0)) {
      const box = document.getElementById(id);
      if (box) box.checked = true;
    }
  });

  // Fields that depend on another answer

  function answers(form, name) {
    const inputs = [...form.querySelectorAll(`[name="${CSS.escape(name)}"]`)];
    if (inputs.length === 1 && inputs[0].type === "checkbox") return [String(inputs[0].checked)];
    return inputs.filter((input) => input.type !== "checkbox" || input.checked).map((input) => input.value);
  }

  function showRelevant(root) {
    for (const field of root.querySelectorAll("[data-visible-when]")) {
      const conditions = Object.entries(JSON.parse(field.dataset.visibleWhen));
      field.hidden = !conditions.every(([name, wanted]) =>
        answers(field.closest("form"), name).some((value) => wanted.includes(value)));
    }
  }

  // Tabs that are wider than a phone begin where the reader is.
  document.querySelector(".till__tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

  document.addEventListener("change", (event) => {
    if (event.target.form) showRelevant(event.target.form);
  });
  showRelevant(document);
})();
