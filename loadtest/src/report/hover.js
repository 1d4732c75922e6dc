
"use strict";
(() => {
  // Without this script a browser shows the same texts, after a while.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  for (const title of document.querySelectorAll("svg rect > title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.textContent = "";
  }
  let shown = null;
  const show = (event) => {
    const spot = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    if (shown && shown !== spot) shown.classList.remove("on");
    shown = spot;
    tip.hidden = !spot;
    if (!spot) return;
    spot.classList.add("on");
    tip.textContent = spot.dataset.tip;
    const right = event.clientX + 16 + tip.offsetWidth;
    const x = right > innerWidth ? Math.max(4, event.clientX - 16 - tip.offsetWidth) : event.clientX + 16;
    const y = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 4);
    tip.style.left = `${x}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  };
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  document.documentElement.dataset.hover = "ready";
})();
