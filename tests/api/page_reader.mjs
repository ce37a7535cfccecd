// Reads the docs page as a browser does, as far as its script goes: `node page_reader.mjs SCRIPT DOCUMENT`.
// There are just the parts of a DOM that the script uses. What was seen is printed as JSON.
import { readFileSync } from "node:fs";

class Element {
  constructor(tag) { Object.assign(this, { tagName: tag.toUpperCase(), attributes: {}, inner: [], heard: {}, hidden: false, open: false, parent: null }); }
  setAttribute(name, value) { this.attributes[name] = String(value); if (name === "value") this.value = String(value); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  set href(value) { this.setAttribute("href", value); }
  get dataset() { return { text: this.attributes["data-text"] }; }
  get classList() { return { contains: name => (this.attributes.class ?? "").split(" ").includes(name) }; }
  append(...inner) { for (const each of inner) { if (each instanceof Element) each.parent = this; this.inner.push(each instanceof Element ? each : String(each)); } }
  replaceChildren(...inner) { this.inner = []; this.append(...inner); }
  hasChildNodes() { return this.inner.length > 0; }
  addEventListener(name, listener) { (this.heard[name] ??= []).push(listener); }
  fire(name, more = {}) { for (const each of this.heard[name] ?? []) each({ target: this, preventDefault() {}, ...more }); }
  get textContent() { return this.inner.map(each => each.textContent ?? each).join(""); }
  set textContent(text) { this.replaceChildren(text); }
  get all() { return this.inner.filter(each => each instanceof Element).flatMap(each => [each, ...each.all]); }
  find(test) { return this.all.filter(test); }
  querySelectorAll(selector) {
    const [, tag, name, value] = /^(\w+)(?:\[(\w+)=(\w+)\])?$/.exec(selector);
    return this.find(each => each.tagName === tag.toUpperCase() && (!name || each.attributes[name] === value));
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0]; }
  closest(tag) { return this.tagName === tag.toUpperCase() ? this : this.parent?.closest(tag); }
  focus() { document.focused = this; }
  scrollIntoView() { document.scrolled = this; }
}

const body = new Element("body");
for (const id of ["main", "index", "search", "dialects", "found"]) {
  const made = new Element(id === "search" ? "input" : "div");
  made.setAttribute("id", id);
  body.append(made);
}
body.find(each => each.attributes.id === "search")[0].value = "";
const document = {
  createElement: tag => new Element(tag),
  getElementById: id => body.find(each => each.attributes.id === id)[0] ?? null,
  querySelectorAll: selector => body.querySelectorAll(selector),
};
const heard = {}, location = { origin: "http://perdure.test", hash: "" };
const addEventListener = (name, listener) => { (heard[name] ??= []).push(listener); };
const fetch = async () => ({ json: async () => JSON.parse(readFileSync(process.argv[3], "utf8")) });

const program = new Function("document", "location", "addEventListener", "fetch", readFileSync(process.argv[2], "utf8"));
program(document, location, addEventListener, fetch);
await new Promise(done => setTimeout(done, 0));

const byId = document.getElementById;
const radios = () => document.querySelectorAll("input[name=dialect]");
const shown = () => body.querySelectorAll("section").filter(each => !each.hidden).flatMap(each => each.find(inner => inner.classList.contains("op")).map(op => op.attributes.id));
const links = () => byId("index").inner.filter(each => !each.hidden).flatMap(each => each.querySelectorAll("a")).filter(each => !each.hidden).map(each => each.textContent);
const choose = name => radios().find(each => each.value === name).fire("change");
const search = text => { byId("search").value = text; byId("search").fire("input"); };
const seen = { dialects: radios().map(each => each.value), all: shown(), chosen: {}, parts: {} };

for (const name of seen.dialects) {
  choose(name);
  seen.chosen[name] = shown();
  seen.parts[name] = body.querySelectorAll("a").map(each => each.attributes.href).filter(each => each.startsWith("openapi"));
}
choose("");
search("bulk");
seen.searched = { links: links(), said: byId("found").textContent };
search("");

heard.keydown[0]({ key: "/", target: body, preventDefault() {} });
seen.slash = document.focused === byId("search");
choose("process");
location.hash = "#createWorkflow";
heard.hashchange[0]();
const box = byId("createWorkflow");
seen.linked = { open: box.open, focused: document.focused.tagName, shown: shown().includes("createWorkflow") };

box.fire("toggle");
const snippet = () => box.querySelectorAll("pre")[0].textContent;
const tabs = () => box.querySelectorAll("button[role=tab]");
const selected = () => tabs().filter(each => each.attributes["aria-selected"] === "true").map(each => each.textContent);
const list = box.querySelectorAll("div[role=tablist]")[0];
seen.snippets = [[selected(), snippet()]];
for (const key of ["ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home", "ArrowRight"]) {
  list.fire("keydown", { key });
  seen.snippets.push([selected(), snippet()]);
}
seen.focused = document.focused.textContent;
seen.tabbable = tabs().filter(each => each.tabIndex === 0).length;
const other = byId("listWorkflows");
other.open = true;
other.fire("toggle");
seen.kept = other.querySelectorAll("button[role=tab]").filter(each => each.attributes["aria-selected"] === "true").map(each => each.textContent);
console.log(JSON.stringify(seen));
