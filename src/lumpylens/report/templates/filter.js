// -- words and conditions of the filter -----------------------------------------------------

const compare = {
  "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
};
// Number of letters to insert, remove or replace until both words are the same (Levenshtein).
function distance(from, to) {
  let above = Array.from({length: to.length + 1}, (_, k) => k);
  for (let row = 1; row <= from.length; row++) {
    const line = [row];
    for (let k = 1; k <= to.length; k++) {
      const swapped = above[k - 1] + (from[row - 1] === to[k - 1] ? 0 : 1);
      line.push(Math.min(above[k] + 1, line[k - 1] + 1, swapped));
    }
    above = line;
  }
  return above[to.length];
}
// A name that holds the word is nearest, then the one with the fewest other letters.
function nearest(word, names) {
  const away = (name) => name.includes(word) ? 0 : distance(word, name) / Math.max(word.length, name.length);
  const [best] = [...names].sort((a, b) => away(a) - away(b));
  return away(best) <= 0.5 ? best : "";
}
// Test of one condition, or what is wrong with it.
function condition(name, sign, limit, columns) {
  const key = name.toLowerCase(), column = columns.find((one) => one.key.toLowerCase() === key);
  if (!column) {
    const names = columns.map((one) => one.key), meant = nearest(key, names);
    return {problem: `There is no column ${name}${meant ? `; did you mean ${meant}?` : "."} ` +
      `Columns: ${names.join(", ")}.`};
  }
  if (limit === "") {
    return {problem: `${name}${sign} is not finished: write a ${column.text ? "word" : "number"} behind it.`};
  }
  if (column.text) {
    if (sign !== "=") return {problem: `${name} holds words: write ${name}=${limit}, or the word alone.`};
    return {test: (cell) => String(cell(column.key)).toLowerCase() === limit.toLowerCase()};
  }
  const value = Number(limit);
  if (!Number.isFinite(value)) return {problem: `${name}${sign}${limit}: ${limit} is not a number.`};
  return {test: (cell) => cell(column.key) !== null && compare[sign](cell(column.key), value)};
}
// Tests that all must hold, and one sentence for each condition that cannot be tested.
// Each test takes a function from the key of a column to the value of a row.
function filterOf(text, columns, isName) {
  const words = text.trim().replace(/\s*(<=|>=|==?|<|>)\s*/g, (_, sign) => sign.replace("==", "="));
  const tests = [], problems = [];
  for (const word of words.split(/\s+/).filter(Boolean)) {
    const parts = word.match(/^(\w+)(<=|>=|<|>|=)(.*)$/);
    if (!parts || isName(word)) {
      tests.push((cell) => cell("words").includes(word.toLowerCase()));
      continue;
    }
    const {test, problem} = condition(parts[1], parts[2], parts[3], columns);
    if (problem) problems.push(problem);
    else tests.push(test);
  }
  return {tests, problems};
}
