// Put into a copy of a report: tells what a person would see at a glance, that
// something stands out of the screen, or over something else.
(() => {
  const shown = (node) => node.getClientRects().length > 0;
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth + 1) found.push(`the page is ${wide} wide, the screen ${innerWidth}`);
  let plots = 0;
  for (const svg of document.querySelectorAll("svg.plot")) {
    if (!shown(svg)) continue;
    plots += 1;
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((node) => [node, node.getBoundingClientRect()]);
    texts.forEach(([node, box], at) => {
      const text = node.textContent;
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
        found.push(`${svg.parentNode.id}: "${text}" stands out of the plot`);
      if (box.height < 9) found.push(`${svg.parentNode.id}: "${text}" is too small to read`);
      for (const [other, by] of texts.slice(at + 1)) {
        // Boxes of lines are higher than their letters.
        const over = box.left < by.right - 1 && by.left < box.right - 1
          && box.top + 3 < by.bottom && by.top + 3 < box.bottom;
        if (over) found.push(`${svg.parentNode.id}: "${text}" touches "${other.textContent}"`);
      }
    });
  }
  const top = parent.document.documentElement;
  top.dataset.plots = plots;
  top.dataset.found = found.length ? found.slice(0, 20).join("; ") : "nothing";
})();
