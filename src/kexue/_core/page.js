"use strict";

function byId(id) {
  return document.getElementById(id);
}

// What comes from files is hostile: it enters the document as text alone.
function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

