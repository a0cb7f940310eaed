// Small helps that the pages can do without: copying ids, times that grow, and a navigation that shows where you are.
"use strict";
(() => {
  const roughly = (s) => s < 60 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
  const ages = (root) => {
    for (const t of root.querySelectorAll("time[datetime]")) {
      if (!t.textContent.endsWith(" ago") && t.textContent !== "now" && !t.textContent.startsWith("in ")) continue;
      const s = (Date.now() - Date.parse(t.dateTime)) / 1000;
      t.textContent = s < -1 ? `in ${roughly(-s)}` : s < 2 ? "now" : `${roughly(s)} ago`;
    }
  };
  const buttons = (root) => { for (const b of root.querySelectorAll("button.copy")) b.hidden = !navigator.clipboard; };
  document.addEventListener("click", async (e) => {
    const b = e.target.closest("button.copy");
    if (!b) return;
    try { await navigator.clipboard.writeText(b.dataset.copy); b.classList.add("copied"); setTimeout(() => b.classList.remove("copied"), 1200); } catch { /* the browser has refused */ }
  });
  document.addEventListener("htmx:afterSettle", (e) => buttons(e.target));
  // The browser connects again if the updates end, and htmx if they are refused. A refusal that stays is asked for once more, and then ends the updates.
  document.addEventListener("htmx:sseError", async (e) => {
    const page = e.target, address = page.getAttribute("sse-connect");
    if (!address || e.detail.source.readyState !== EventSource.CLOSED) return;
    const asked = new AbortController();
    try {
      const answer = await fetch(address, { redirect: "manual", signal: asked.signal });
      const later = answer.ok || answer.status === 429 || answer.status >= 500;
      if (later || !page.hasAttribute("sse-connect")) return;
      page.removeAttribute("sse-connect");
      page.insertAdjacentHTML("afterbegin", '<p class="fault" role="alert">This page is no longer updated. Reload it.</p>');
    } catch { /* the service is away: htmx tries again */ } finally { asked.abort(); }
  });
  buttons(document);
  const place = () => document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  addEventListener("resize", place);
  place();
  setInterval(() => ages(document), 10000);
})();
