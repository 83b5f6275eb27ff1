// Tooltips for marks, made of the labels that screen readers get; print opens what is folded.
(() => {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const mark = event.target.closest?.('[role="graphics-symbol"][aria-label]');
    if (!mark || /axis|legend/.test(mark.getAttribute("aria-roledescription"))) return hide();
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const width = tip.offsetWidth, edge = document.documentElement.clientWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(event.clientX - width / 2, edge - width))}px`;
    const above = event.clientY - tip.offsetHeight - 14;
    tip.style.top = `${above < 8 ? event.clientY + 20 : above}px`;
  };
  document.addEventListener("pointermove", show, { passive: true });
  document.addEventListener("pointerdown", show, { passive: true });
  document.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("pointerleave", hide);
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
})();
