// Draws each picture when it comes near the screen, in the colours of the reader's choice, and hides the series whose boxes are not ticked.
"use strict";
(() => {
  document.documentElement.classList.add("script");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function look() {
    const style = getComputedStyle(document.documentElement);
    const [text, soft, line] = ["--text", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
    return {
      background: null,
      font: "system-ui, sans-serif",
      axis: { labelColor: soft, titleColor: text, titleFontWeight: "normal", gridColor: line, domainColor: soft, tickColor: soft },
      view: { stroke: null },
    };
  }

  function ticked(section) {
    const boxes = [...section.querySelectorAll("fieldset.legend input")];
    return boxes.length ? boxes.filter((box) => box.checked).map((box) => box.value) : null;
  }

  async function draw(panel) {
    const place = panel.querySelector(".picture");
    const specification = JSON.parse(panel.querySelector("script[type='application/json']").textContent);
    panel.view?.finalize();
    const drawn = await window.vegaEmbed(place, specification, {
      ast: true,
      renderer: "svg",
      logLevel: 1, // an empty layer is no matter for a warning
      config: look(),
      actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
    });
    panel.view = drawn.view;
    const shown = ticked(panel.closest("section"));
    if (shown) await drawn.view.signal("shown", shown).runAsync();
    panel.dataset.drawn = "yes";
  }

  const panels = [...document.querySelectorAll(".panel")];
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          near.unobserve(entry.target);
          draw(entry.target);
        }
      }
    },
    { rootMargin: "600px" },
  );
  for (const panel of panels) near.observe(panel);

  document.addEventListener("change", (event) => {
    const section = event.target.closest("section");
    const shown = section ? ticked(section) : null;
    if (!shown) return;
    for (const panel of section.querySelectorAll(".panel")) panel.view?.signal("shown", shown).runAsync();
  });
  dark.addEventListener("change", () => panels.filter((panel) => panel.view).forEach(draw));
  window.addEventListener("beforeprint", () => panels.filter((panel) => !panel.view).forEach(draw));
})();
