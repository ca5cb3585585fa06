const data = JSON.parse(document.getElementById("list-data").textContent);
const rows = data.rows, total = rows.id.length, PAGE = 50, THUMBS = 24, NOTE = 2;
const by = (id) => document.getElementById(id);
const [ITEM, ITEMS] = data.nouns;
const state = {key: "rank", descending: false, page: 0, order: [], thumbs: THUMBS, open: -1};
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}
function drawing(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (value === 0 || Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
function shownValue({key, decimals, least}, row) {
  const value = rows[key][row];
  if (least && value !== null && value < least) return `< ${least.toExponential()}`;
  return decimals && value !== null ? value.toFixed(decimals) : number(value);
}
const note = (row) => data.notes[row];
const kind = (row) => data.kinds ? data.kinds[row] : "";

// -- selection ------------------------------------------------------------------------------

let selected = [];
// A p-value is a ratio of whole numbers: as written and as computed may differ in the last digit.
const within = (value, limit) => value !== null && value <= limit * (1 + 1e-9);
const point = () => data.points[Number(by("slider").value)];
const rate = () => Number(by("fdr").value) / 100;

// Why Benjamini-Hochberg selects nothing, and what would make it: see Calibration.selection_limit.
function unselected(tested) {
  const n = data.calibration, floor = 1 / (n + 1), lowest = Math.min(...rows.q_value.filter((q) => q !== null));
  if (!tested) return "No image has a p-value, so none can be selected.";
  const percent = (part) => `${Number((100 * part).toPrecision(3))} %`;
  const highest = rows.p_value.filter((p) => within(p, floor)).length;
  const needed = Math.max(1, Math.ceil(tested * floor / rate() - 1e-9));
  const why = needed > tested
    ? `No image can be selected at this rate: ${count(n, "calibration image")} give no p-value below 1/${n + 1} = ${percent(floor)}.`
    : `This rate needs at least ${needed.toLocaleString("en")} of the ${count(tested, "image")} above all ` +
      `${count(n, "calibration image")}; there ${highest === 1 ? "is" : "are"} ${highest.toLocaleString("en")}.`;
  const images = Math.ceil(tested / (highest * rate()) - 1e-9) - 1;
  const [which, stayed] = highest === 1 ? ["the highest image", "it scored"]
    : [`the ${highest.toLocaleString("en")} highest images`, "they scored"];
  const remedy = highest === 0 ? "" : ` With ${count(images, "calibration image")}, ${which} would be selected ` +
    `at this rate if ${stayed} above all of them.`;
  return `${why} From a rate of ${percent(lowest)} on, images are selected.${remedy}`;
}

function select() {
  const {fpr, threshold, expected, low, high, x} = point();
  const above = rows.p_value.map((p) => within(p, fpr));
  const found = rows.q_value.map((q) => within(q, rate()));
  const size = (chosen) => chosen.reduce((sum, one) => sum + one, 0);
  const tested = rows.p_value.filter((p) => p !== null).length;
  const classes = (chosen) => !data.labelled ? "" :
    ` ${size(chosen.map((one, row) => one && rows.class[row] === "normal"))} of them are normal.`;
  by("threshold-said").textContent =
    `${count(size(above), "image")} reach a score of ${number(threshold)} (p ≤ ${number(fpr)}). ` +
    `If all ${tested.toLocaleString("en")} were normal, about ${number(Number(expected.toPrecision(2)))} ` +
    `would reach it as false alarms (95 %: ${low} to ${high}).` + classes(above);
  by("slider").setAttribute("aria-valuetext", `score ${number(threshold)}, ${size(above)} images, ` +
    `about ${number(Number(expected.toPrecision(2)))} false alarms expected`);
  by("threshold-line").style.left = `${100 * x}%`;
  const valid = by("fdr").checkValidity() && by("fdr").value !== "";
  by("fdr").setAttribute("aria-invalid", String(!valid));
  by("fdr-said").textContent = valid
    ? `${count(size(found), "image")} selected by Benjamini-Hochberg.` +
      (size(found) ? classes(found) : ` ${unselected(tested)}`)
    : "Give a rate between 0.1 and 99 %.";
  selected = by("rule-fdr").checked ? found.map((one) => one && valid) : above;
  by("selected-said").textContent = count(size(selected), "image");
  by("download").disabled = !size(selected);
  render();
}

function field(value) {
  if (value === null) return "";
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
function selectionCsv() {
  const keys = Object.keys(rows);
  const chosen = rows.id.map((_, row) => row).filter((row) => selected[row]);
  const lines = chosen.map((row) => keys.map((key) => field(rows[key][row])).join(","));
  return [keys.join(","), ...lines].join("\n") + "\n";
}
function download() {
  const link = element("a", {download: "selection.csv",
    href: URL.createObjectURL(new Blob([selectionCsv()], {type: "text/csv"}))});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// -- table ----------------------------------------------------------------------------------

const searched = rows.id.map((id, row) => `${id} ${note(row)}`.toLowerCase());
function shown() {
  const isName = (word) => searched.some((words) => words.includes(word.toLowerCase()));
  const {tests: wanted, problems} = filterOf(by("query").value, data.columns, isName);
  by("query-problem").textContent = problems.join(" ");
  by("query").setAttribute("aria-invalid", String(problems.length > 0));
  const tests = wanted.map((test) => (row) => test((key) => key === "words" ? searched[row] : rows[key][row]));
  const show = by("show").value;
  if (show === "selected") tests.push((row) => selected[row]);
  else if (show === "explained") tests.push((row) => row in data.explained);
  else if (show === "noted") tests.push((row) => note(row) !== "");
  else if (show !== "all") tests.push((row) => kind(row) === show);
  const kept = rows.id.map((_, row) => row).filter((row) => tests.every((test) => test(row)));
  const values = rows[state.key], turn = state.descending ? -1 : 1;
  return kept.sort((a, b) => {
    const first = values[a], second = values[b];
    // What is missing comes last, whichever way the rest is sorted.
    if (first === null || second === null) return (first === null) - (second === null) || a - b;
    return turn * (first < second ? -1 : first > second ? 1 : 0) || a - b;
  });
}
function head() {
  const cells = data.columns.map(({key, label, text, meaning}) => {
    const cell = element("th", {scope: "col", className: text ? "text" : "", title: meaning},
      element("button", {type: "button", textContent: label, onclick: () => {
        state.descending = state.key === key ? !state.descending : !text && key !== "rank";
        state.key = key;
        state.page = 0;
        render();
      }}));
    cell.dataset.key = key;
    return cell;
  });
  cells.splice(NOTE, 0, element("th", {scope: "col", className: "text", textContent: data.note_title}));
  by("rows").tHead.append(element("tr", {}, ...cells));
}
function line(row) {
  const cells = data.columns.map((column) => column.key === "id"
    ? element("td", {className: "text"}, element("button", {type: "button", textContent: rows.id[row],
        title: rows.id[row], onclick: () => open(row)}))
    : element("td", {className: column.text ? "text" : "", textContent: shownValue(column, row)}));
  const marks = [selected[row] ? "selected" : "", row in data.explained ? "explained" : "", note(row)];
  cells.splice(NOTE, 0,
    element("td", {className: "note-cell", textContent: marks.filter(Boolean).join("; ")}));
  return element("tr", {className: selected[row] ? "chosen" : ""}, ...cells);
}
function render() {
  state.order = shown();
  const pages = Math.max(1, Math.ceil(state.order.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const start = state.page * PAGE;
  by("rows").tBodies[0].replaceChildren(...state.order.slice(start, start + PAGE).map(line));
  for (const cell of by("rows").tHead.rows[0].cells) {
    if (cell.dataset.key === state.key) {
      cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    } else cell.removeAttribute("aria-sort");
  }
  by("shown-said").textContent = `${state.order.length.toLocaleString("en")} of ` +
    `${total.toLocaleString("en")} ${total === 1 ? ITEM : ITEMS}`;
  by("page-said").textContent = `page ${state.page + 1} of ${pages}`;
  by("earlier").disabled = state.page === 0;
  by("later").disabled = state.page === pages - 1;
  for (const button of by("thumbs").querySelectorAll("button")) {
    button.classList.toggle("chosen", Boolean(selected[Number(button.dataset.row)]));
  }
}

// -- gallery --------------------------------------------------------------------------------

function gist(row) {
  return `${data.gists ? data.gists[row] : number(rows.anomaly_score[row])} `;
}
function gallery() {
  const before = by("thumbs").children.length, end = Math.min(state.thumbs, data.thumbs.length);
  for (let row = before; row < end; row++) {
    const picture = data.thumbs[row]
      ? element("img", {src: data.thumbs[row], className: "light", loading: "lazy", alt: "", width: 150, height: 150})
      : element("span", {className: "none"});
    const told = kind(row) ? element("span", {className: kind(row), textContent: `${kind(row)} `}) : null;
    const button = element("button", {type: "button", onclick: () => open(row)}, picture,
      element("span", {className: "text"},
        element("strong", {textContent: `${row + 1}. `}), gist(row),
        told, element("span", {className: "id", textContent: rows.id[row], title: rows.id[row]})));
    button.dataset.row = row;
    button.setAttribute("aria-label", `Open rank ${row + 1}, ${rows.id[row]}`);
    by("thumbs").append(element("li", {}, button));
  }
  by("more-thumbs").hidden = end === data.thumbs.length;
}

// -- one image ------------------------------------------------------------------------------

function figure([light, dark], name) {
  return element("a", {href: light}, element("picture", {},
    element("source", {srcset: dark, media: "(prefers-color-scheme: dark)"}),
    element("img", {src: light, alt: `Data, model, residual, source and maps of ${name}`})));
}
function surprises(list) {
  const reach = 1.05 * Math.max(4, ...list.map(([, , sigma]) => Math.abs(sigma)));
  const at = (sigma) => `${50 + 50 * sigma / reach}%`, wide = (sigma) => `${50 * Math.abs(sigma) / reach}%`;
  return list.map(([name, value, sigma]) => {
    const usual = element("span", {className: "usual"}), bar = element("span", {className: "value"});
    Object.assign(usual.style, {left: at(-2), width: wide(4)});
    Object.assign(bar.style, {left: at(Math.min(sigma, 0)), width: wide(sigma)});
    return element("div", {className: `surprise${Math.abs(sigma) > 2 ? " unusual" : ""}`},
      element("span", {}, `${name} `, element("span", {className: "number", textContent: value})),
      element("span", {className: "track"}, usual, bar),
      element("span", {className: "sigma", textContent: `${sigma > 0 ? "+" : ""}${sigma.toFixed(1)}σ`}));
  });
}
function plainPicture(row) {
  const view = data.views?.[row];
  if (!view || !data.thumbs[row]) return {panels: []};
  const {box, scale} = view;
  return {view: box, scale, panels: [{name: "image", title: "image", file: data.thumbs[row], box}]};
}
function open(row) {
  const found = data.explained[row];
  state.open = row;
  by("opened-name").textContent = rows.id[row];
  by("opened-rank").textContent = `rank ${row + 1} of ${total.toLocaleString("en")}` +
    (kind(row) ? `, ${kind(row)}` : "") + (selected[row] ? ", selected" : "");
  by("opened-sentence").textContent = data.sentences[row];
  by("opened-note").hidden = !note(row) || note(row) === data.sentences[row];
  by("opened-note").textContent = note(row);
  const plain = data.columns.filter(({key, text}) => !text && key !== "rank" && rows[key][row] !== null)
    .map((column) => [column.label, shownValue(column, row), ""]);
  const scores = found ? found.scores : plain;
  by("opened-scores").replaceChildren(...scores.map(([name, value, p]) => element("div", {},
    element("dt", {textContent: name}),
    element("dd", {}, value, element("small", {textContent: p})))));
  const whole = data.figures ? data.figures[row] : null, shown = found ?? plainPicture(row);
  by("opened-figure").replaceChildren(...(whole ? [figure(whole, rows.id[row])] : []));
  by("opened-panels").replaceChildren(...(whole ? [] : shown.panels.map((one) => panel(shown, one))));
  by("opened-peak").textContent = found ? found.peak_text : "";
  const bars = found ? surprises(found.surprises) : [];
  by("opened-surprises").replaceChildren(
    ...(bars.length ? [element("h3", {textContent: "Surprise, in sigma of normal lenses"}), ...bars] : []));
  const place = state.order.indexOf(row);
  by("previous").disabled = place <= 0;
  by("next").disabled = place < 0 || place === state.order.length - 1;
  if (!by("opened").open) by("opened").showModal();
  by("opened").scrollTop = 0;
}
function step(places) {
  const next = state.order[state.order.indexOf(state.open) + places];
  if (next !== undefined && state.order.includes(state.open)) open(next);
}

// -- start ----------------------------------------------------------------------------------

if (by("threshold")) {
  by("slider").addEventListener("input", () => { by("rule-threshold").checked = true; select(); });
  by("fdr").addEventListener("input", () => { by("rule-fdr").checked = true; select(); });
  for (const rule of ["rule-threshold", "rule-fdr"]) by(rule).addEventListener("change", select);
  by("download").addEventListener("click", download);
}
by("filters").addEventListener("submit", (event) => event.preventDefault());
for (const [id, happening] of [["query", "input"], ["show", "change"]]) {
  by(id).addEventListener(happening, () => { state.page = 0; render(); });
}
by("earlier").addEventListener("click", () => { state.page -= 1; render(); });
by("later").addEventListener("click", () => { state.page += 1; render(); });
by("more-thumbs").addEventListener("click", () => { state.thumbs += THUMBS; gallery(); render(); });
by("previous").addEventListener("click", () => step(-1));
by("next").addEventListener("click", () => step(1));
by("close").addEventListener("click", () => by("opened").close());
by("opened").addEventListener("click", (event) => {
  if (event.target === by("opened")) by("opened").close();
});
by("opened").addEventListener("keydown", (event) => {
  if (event.target.matches("select")) return; // arrows choose there
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
});
pictureSwitches();
head();
gallery();
if (by("threshold")) select();
else render();
