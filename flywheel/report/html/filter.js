"use strict";
const list = document.getElementById("items");
if (list) {
  const items = [...list.querySelectorAll(".item")];
  const fields = ["candidate", "evaluation", "kind"].map((name) => document.getElementById("by-" + name));
  const words = document.getElementById("by-text");
  const shown = document.getElementById("shown");
  const apply = () => {
    const wanted = words.value.trim().toLowerCase();
    let count = 0;
    for (const item of items) {
      const fits = fields.every((field) => !field.value || item.dataset[field.name] === field.value)
        && (!wanted || item.textContent.toLowerCase().includes(wanted));
      item.hidden = !fits;
      count += fits ? 1 : 0;
    }
    shown.textContent = count + " of " + items.length + " shown";
  };
  for (const field of [...fields, words]) field.addEventListener("input", apply);
  for (const link of document.querySelectorAll("a[data-candidate]")) {
    link.addEventListener("click", () => {
      words.value = "";
      for (const field of fields) field.value = link.dataset[field.name] || "";
      apply();
    });
  }
  document.getElementById("filters").hidden = false;
  apply();
}
