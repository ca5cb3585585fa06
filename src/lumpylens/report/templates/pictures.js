// -- pictures -------------------------------------------------------------------------------

// All switches of the page say the same; what they do is in pictures.css.
function pictureSwitches() {
  const page = document.documentElement;
  const stretches = document.querySelectorAll(".stretch"), blinks = document.querySelectorAll(".blink-switch");
  for (const one of stretches) one.addEventListener("change", () => {
    page.dataset.stretch = one.value;
    for (const other of stretches) other.value = one.value;
  });
  for (const one of blinks) one.addEventListener("change", () => {
    page.classList.toggle("blink", one.checked);
    for (const other of blinks) other.checked = one.checked;
  });
  for (const controls of document.querySelectorAll(".picture-controls")) controls.hidden = false;
}
function scaleBar([length, text], [left, top, width, height]) {
  const bar = drawing("g", {class: "scale"}), x = left + width / 20, y = top + height - height / 20;
  bar.append(
    drawing("path", {d: `M${x} ${y}h${length}`, "stroke-width": width / 60}),
    drawing("path", {d: `M${x} ${y}h${length}`, "stroke-width": width / 120}),
    writing(text, x + length / 2, y - height / 40, width / 18, {"text-anchor": "middle"}));
  return bar;
}
function writing(text, x, y, size, attributes) {
  const made = drawing("text", {x, y, "font-size": size, "stroke-width": size / 6, ...attributes});
  made.textContent = text;
  return made;
}
function pixels({file, box: [x, y, width, height], palette}, kind = palette ? "" : "light") {
  return drawing("image", {href: file, x, y, width, height, preserveAspectRatio: "none", class: kind});
}
function panel(explained, one) {
  const {view, ring, peak, panels, scale} = explained, thin = view[2] / 150;
  const picture = drawing("svg", {viewBox: view.join(" "), role: "img", class: one.palette ? "coloured" : ""});
  picture.setAttribute("aria-label", `${one.title}; the bar is ${scale[1].replace("″", " arcsec")} long`);
  picture.append(pixels(one));
  const model = panels.find(({name}) => name === "model");
  const light = model ?? panels.find(({name}) => name === "image");
  if (one.ring && one.palette && light) {
    // The light of the lens, so that eyes find their way between the pictures.
    picture.prepend(pixels(light, "under"));
  }
  if (one.name === "image" && model) {
    picture.append(pixels(model, "light turn"),
      writing(model.title, view[0] + view[2] / 25, view[1] + view[3] / 11, view[2] / 18, {class: "turn"}));
  }
  if (one.ring && ring) {
    const [cx, cy, r] = ring;
    picture.append(drawing("circle", {cx, cy, r, fill: "none", stroke: one.palette ? "#000" : "#fff",
      "stroke-width": thin / 1.5, "stroke-dasharray": `${2 * thin} ${2 * thin}`}));
  }
  if (one.peak && peak) {
    const [cx, cy] = peak, arm = 5 * thin;
    // Black on white, to be seen on dark images and on pale maps.
    for (const [stroke, width] of [["#fff", 3], ["#000", 1.5]]) {
      picture.append(drawing("path", {d: `M${cx - arm} ${cy}h${2 * arm}M${cx} ${cy - arm}v${2 * arm}`,
        stroke, "stroke-width": width * thin, fill: "none", class: "mark"}));
    }
  }
  picture.append(scaleBar(scale, view));
  const figure = element("figure", {}, element("figcaption", {textContent: one.title}), picture);
  if (one.palette) {
    const ramp = element("div", {className: "ramp"});
    ramp.style.background = `linear-gradient(to right, ${data.palettes[one.palette].join(",")})`;
    figure.append(ramp, element("div", {className: "ends"},
      element("span", {textContent: one.ends[0]}), element("span", {textContent: one.unit}),
      element("span", {textContent: one.ends[1]})));
  }
  return figure;
}
