"use strict";

/* Light or dark: as the system says, until the reader says otherwise. */
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
  };
  try {
    const kept = localStorage.getItem("skymetal-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch { /* a browser may keep nothing for a file */ }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
    try { localStorage.setItem("skymetal-theme", root.dataset.theme); } catch { /* as above */ }
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();

/* The table of galaxies: all its rows are in the page; one screenful of them is in the document. */
(() => {
  const data = JSON.parse(document.getElementById("galaxies-data").textContent);
  const table = document.getElementById("galaxies-table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const inputs = [...table.tHead.rows[1].querySelectorAll("input")];
  const element = (name) => document.getElementById(`galaxies-${name}`);
  const keys = data.columns.map(({ kind, texts }) => texts.map((text) => keyOf(kind, text)));
  let rows = [], first = 0, sorted = null;

  function keyOf(kind, text) {
    if (text === "") return null;
    if (kind === "number") return Number(text);
    return kind === "id" ? BigInt(text) : text.toLowerCase(); // an id has more digits than a number holds
  }

  /* What a filter asks of a value: conditions joined by & or a comma, else a text to be found. */
  function testOf(column, asked) {
    const words = asked.trim();
    if (!words) return { test: null, isValid: true };
    if (column.kind !== "text") {
      const parts = words.split(/&+|,|\band\b/).map((part) => conditionOf(withoutName(part.trim(), column.name)));
      if (parts.every(Boolean)) return { test: (key) => key !== null && parts.every((part) => part(Number(key), key)), isValid: true };
      if (/[<>=≤≥≠&]|\.\./.test(words)) return { test: null, isValid: false };
    }
    const wanted = words.toLowerCase();
    return { test: (_, text) => text.toLowerCase().includes(wanted), isValid: true };
  }

  function withoutName(words, name) {
    return words.startsWith(name) ? words.slice(name.length).trim() : words;
  }

  function conditionOf(words) {
    const range = words.match(/^(\S+?)\s*\.\.\s*(\S+)$/);
    if (range) {
      const [low, high] = [Number(range[1]), Number(range[2])];
      return Number.isNaN(low) || Number.isNaN(high) ? null : (value) => low <= value && value <= high;
    }
    const found = words.match(/^(<=|>=|==|!=|<|>|=|≤|≥|≠)\s*([-+]?[\d.]+(?:e[-+]?\d+)?)$/i);
    if (!found || Number.isNaN(Number(found[2]))) return null;
    const limit = Number(found[2]);
    const isId = (key) => typeof key === "bigint" && /^[-+]?\d+$/.test(found[2]) && key === BigInt(found[2]);
    switch (found[1]) {
      case "<": return (value) => value < limit;
      case ">": return (value) => value > limit;
      case "<=": case "≤": return (value) => value <= limit;
      case ">=": case "≥": return (value) => value >= limit;
      case "!=": case "≠": return (value, key) => (typeof key === "bigint" ? !isId(key) : value !== limit);
      default: return (value, key) => (typeof key === "bigint" ? isId(key) : value === limit);
    }
  }

  function choose() {
    const tests = data.columns.map((column, place) => {
      const { test, isValid } = testOf(column, inputs[place].value);
      inputs[place].setAttribute("aria-invalid", String(!isValid));
      return test;
    });
    rows = [];
    for (let row = 0; row < data.rows; row += 1) {
      if (tests.every((test, place) => !test || test(keys[place][row], data.columns[place].texts[row]))) rows.push(row);
    }
    if (sorted) {
      const key = keys[sorted.place], sign = sorted.isDown ? -1 : 1;
      rows.sort((a, b) => {
        if (key[a] === null || key[b] === null) return (key[a] === null) - (key[b] === null) || a - b; // unknown last
        return key[a] < key[b] ? -sign : key[a] > key[b] ? sign : a - b;
      });
    }
    first = 0;
    show();
  }

  function show() {
    const shown = rows.slice(first, first + data.page);
    body.replaceChildren(...shown.map((row) => {
      const line = document.createElement("tr");
      for (const { kind, texts } of data.columns) {
        const cell = line.insertCell();
        cell.className = kind;
        cell.textContent = texts[row];
      }
      return line;
    }));
    const number = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");
    const range = shown.length ? `${number(first + 1)} to ${number(first + shown.length)} of ` : "";
    const of = rows.length < data.rows ? ` of ${number(data.rows)}` : "";
    element("status").textContent = `${range}${number(rows.length)}${of} rows`;
    element("previous").disabled = first === 0;
    element("next").disabled = first + data.page >= rows.length;
    element("save").disabled = rows.length === 0;
  }

  function save() {
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const lines = [data.columns.map(({ name }) => quoted(name)), ...rows.map((row) => data.columns.map(({ texts }) => quoted(texts[row])))];
    const text = lines.map((line) => `${line.join(",")}\n`).join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "galaxies.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
    sorted = { place, isDown: sorted !== null && sorted.place === place && !sorted.isDown };
    heads.forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", sorted.isDown ? "descending" : "ascending");
    choose();
  }));
  inputs.forEach((input) => input.addEventListener("input", choose));
  element("previous").addEventListener("click", () => { first -= data.page; show(); });
  element("next").addEventListener("click", () => { first += data.page; show(); });
  element("clear").addEventListener("click", () => { inputs.forEach((input) => { input.value = ""; }); choose(); });
  element("save").addEventListener("click", save);
  table.tHead.rows[1].hidden = false;
  element("controls").hidden = false;
  choose();
})();
