'use strict';
// What the rest shares. Names of files come from outside: text goes in as text, never as markup.
const report = JSON.parse(document.getElementById('report-data').textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const SVG = document.querySelector('svg').namespaceURI;

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function picture(width, height, label, ...children) {
  return draw('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label }, ...children);
}

function show(value, digits) {
  return value === null || value === undefined ? '–' : value.toFixed(digits).replace('-', '−');
}

const color = (method) => `c${report.methods.indexOf(method) % 8}`;

function say(text) {
  byId('status').textContent = text;
}
