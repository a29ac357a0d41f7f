// The model zoo: search, menus, sorting and copying. Without this script the page is the whole table.
document.addEventListener("DOMContentLoaded", () => {
  const zoo = document.getElementById("zoo");
  if (!zoo) return;
  const form = zoo.querySelector("form");
  const search = form.querySelector("input");
  const menus = [...form.querySelectorAll("select")];
  const families = [...zoo.querySelectorAll("tbody")].map((body) => ({ body, head: body.rows[0], rows: [...body.rows].slice(1) }));
  const rows = families.flatMap((family) => family.rows);
  const text = new Map(rows.map((row) => [row, [...row.cells].map((c) => `${c.textContent} ${c.dataset.value}`).join(" ").toLowerCase()]));

  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { body, head, rows } of families) {
      const name = head.textContent.toLowerCase();
      let here = 0;
      for (const row of rows) {
        const fits =
          words.every((word) => text.get(row).includes(word) || name.includes(word)) &&
          menus.every((menu) => !menu.value || row.cells[menu.dataset.column].dataset.menu === menu.value);
        row.hidden = !fits;
        here += fits;
      }
      body.hidden = !here;
      shown += here;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} models`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));

  zoo.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const down = head.getAttribute("aria-sort") === "ascending";
      zoo.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const order = (a, b) => value(a).localeCompare(value(b), "en", { numeric: true }) * (down ? -1 : 1);
      for (const { body, rows } of families) body.append(...rows.sort(order));
    });
  });

  zoo.addEventListener("click", async (event) => {
    const button = event.target.closest(".zoo-copy");
    if (!button) return;
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      // Pages that are opened from a folder may not write to the clipboard: select the line, so that Ctrl+C does.
      getSelection().selectAllChildren(code);
      button.textContent = document.execCommand("copy") ? "copied" : "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  });

  form.hidden = false;
  update();
});
