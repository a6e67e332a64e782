"use strict";
(() => {
  const root = document.documentElement, scheme = document.getElementById("scheme");
  const schemes = ["automatic", "light", "dark"];
  // A page that is opened from a disk may have no storage.
  const stored = action => { try { return action(localStorage); } catch { return null; } };
  function colours(name) {
    if (name === "automatic") delete root.dataset.scheme; else root.dataset.scheme = name;
    scheme.textContent = "Colours: " + name;
  }
  let current = stored(storage => storage.getItem("sslbench-scheme"));
  if (!schemes.includes(current)) current = "automatic";
  colours(current);
  scheme.addEventListener("click", () => {
    current = schemes[(schemes.indexOf(current) + 1) % schemes.length];
    colours(current);
    stored(storage => storage.setItem("sslbench-scheme", current));
  });
  scheme.hidden = false;

  function sortable(table) {
    const heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0], rows = Array.from(body.rows);
    function sortBy(column) {
      const head = heads[column], descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const order = head.dataset.kind === "number" ? (x, y) => x - y : (x, y) => x.localeCompare(y);
      rows.sort((a, b) => {
        const x = a.cells[column].dataset.sort, y = b.cells[column].dataset.sort;
        // Unknown values stay last in both directions.
        if (x === "" || y === "") return (x === "") - (y === "");
        return descending ? order(y, x) : order(x, y);
      });
      body.append(...rows);
    }
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sortBy(column)));
  }
  for (const table of document.querySelectorAll("table.sortable")) sortable(table);

  const box = document.getElementById("filter");
  if (box) {
    const rows = Array.from(document.getElementById("records").tBodies[0].rows, row => ({
      row, text: row.textContent.toLowerCase(), part: document.getElementById(row.dataset.part) }));
    const filter = () => {
      const words = box.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const { row, text, part } of rows) {
        const hidden = !words.every(word => text.includes(word));
        row.hidden = hidden;
        if (part) part.hidden = hidden;
        shown += !hidden;
      }
      document.getElementById("shown").textContent = shown + " of " + rows.length + " cases";
    };
    box.addEventListener("input", filter);
    document.getElementById("search").hidden = false;
    filter();
  }

  function open(id) {
    const target = document.getElementById(id);
    if (!(target instanceof HTMLDetailsElement)) return;
    // A link leads to its part although the filter has hidden it.
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
    target.querySelector("summary").focus({ preventScroll: true });
  }
  const linked = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; } };
  addEventListener("hashchange", () => open(linked()));
  // A second click on the same link changes no hash.
  document.addEventListener("click", event => {
    const link = event.target instanceof Element && event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) open(linked());
  });
  open(linked());
})();
