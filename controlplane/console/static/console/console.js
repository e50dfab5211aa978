/* The console's own behaviour: verbs in a dialog, times in the operator's zone, and a calm refresh. */
(() => {
  "use strict";
  let pressed = false;
  let kept = null;

  const zone = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

  function localTimes(root) {
    for (const time of root.querySelectorAll("time[data-moment]")) {
      const at = new Date(time.dateTime);
      const today = at.toDateString() === new Date().toDateString();
      time.title = `${zone.format(at)} (${time.dateTime})`;
      const small = time.querySelector("small");
      if (small) small.textContent = today ? clock.format(at) : zone.format(at);
    }
  }

  function dialog() {
    let box = document.querySelector("dialog.rc-dialog");
    if (!box) {
      box = document.createElement("dialog");
      box.className = "rc-dialog";
      box.setAttribute("aria-label", "Confirm");
      box.setAttribute("data-dialog-body", "");
      document.body.append(box);
    }
    return box;
  }

  document.addEventListener("pointerdown", () => { pressed = true; });
  for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, () => { setTimeout(() => { pressed = false; }, 50); });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("a[data-dialog]");
    if (opener && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      const box = dialog();
      htmx.ajax("GET", opener.href, { target: box, swap: "innerHTML" }).then(() => {
        if (!box.open && box.childElementCount) box.showModal();
        box.querySelector("input:not([type=hidden]):not([type=radio])")?.focus();
      });
      return;
    }
    if (event.target.closest("[data-back]") && history.length > 1) { event.preventDefault(); history.back(); return; }
    const closer = event.target.closest("[data-dialog-close]");
    const open = closer && closer.closest("dialog");
    if (open) { event.preventDefault(); open.close(); }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === " " && event.target.matches?.("a[role=button], a[role=switch]")) { event.preventDefault(); event.target.click(); }
  });

  /* A part that is refreshed while somebody presses a button keeps still, and gives the focus back afterwards. */
  document.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    if (target.matches("dialog")) return;
    if (pressed) { event.detail.shouldSwap = false; return; }
    const active = document.activeElement;
    kept = target.contains(active) ? active.getAttribute("href") || active.id : null;
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    localTimes(document);
    document.getElementById("rc-stale")?.setAttribute("hidden", "");
    if (kept) {
      for (const link of document.querySelectorAll("#content a[href], #content [id]")) {
        if (link.getAttribute("href") === kept || link.id === kept) { link.focus({ preventScroll: true }); break; }
      }
      kept = null;
    }
  });
  for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
    document.addEventListener(name, () => {
      let notice = document.getElementById("rc-stale");
      if (!notice) {
        notice = document.createElement("p");
        notice.id = "rc-stale";
        notice.setAttribute("role", "status");
        document.body.append(notice);
      }
      if (notice.hidden || !notice.textContent) {
        notice.textContent = `Not refreshed since ${clock.format(new Date())}: the server does not answer. Trying again.`;
        notice.hidden = false;
      }
    });
  }
  document.addEventListener("DOMContentLoaded", () => localTimes(document));
})();
