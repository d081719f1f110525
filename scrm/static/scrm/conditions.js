/* Rows of conditions (profiles/pages/conditions.py) and the sets that hold them: rules, or groups of a segment.

   [data-sets]              holds the sets; their order on the page is their order
   [data-set-item]          one set; its prefix stands in [data-conditions]
   [data-set=add]           appends #set-template, with __prefix__ replaced
   [data-set=up|down|remove]
   [data-number]            is told the set's place */
(() => {
  const fields = JSON.parse(document.getElementById("condition-fields").textContent);
  const template = (id, prefix) => {
    const made = document.createElement("template");
    made.innerHTML = document.getElementById(id).innerHTML.replaceAll("__prefix__", prefix);
    return made.content;
  };
  const part = (row, name) => row.querySelector(`[data-part=${name}]`);
  const changed = (element) => element.dispatchEvent(new Event("change", { bubbles: true }));

  const option = (value, name) => new Option(name, value);
  const select = (groups) => {
    const made = document.createElement("select");
    made.append(option("", "请选择…"));
    groups.forEach(([group, options]) => {
      let holder = made;
      if (group) {
        holder = document.createElement("optgroup");
        holder.label = group;
        made.append(holder);
      }
      options.forEach(([value, name]) => holder.append(option(value, name)));
    });
    return made;
  };

  /* What a field allows is shown, what it does not is emptied, so that nothing unseen is sent. */
  const fit = (row) => {
    const field = fields[part(row, "field").value];
    if (!field) return;
    const channel = part(row, "channel");
    channel.hidden = !field.channelled;
    if (!field.channelled) channel.value = "";
    part(row, "when").hidden = !field.windowed;
    if (!field.windowed) {
      part(row, "window").value = "";
      part(row, "days").value = "";
    }
    const operator = part(row, "operator");
    const before = operator.value;
    operator.replaceChildren(...field.operators.map(([code, name]) => option(code, name)));
    if (field.operators.some(([code]) => code === before)) operator.value = before;
    else operator.value = field.operators.some(([code]) => code === ">=") ? ">=" : field.operators[0][0];

    const old = part(row, "value");
    const made = field.options ? select(field.options) : document.createElement("input");
    made.className = "scrm-input";
    made.name = old.name;
    made.dataset.part = "value";
    made.setAttribute("aria-label", "值");
    if (!field.options) {
      made.inputMode = field.whole ? "numeric" : field.unit ? "decimal" : "text";
      made.maxLength = 200;
      made.autocomplete = "off";
      if (old.tagName === "INPUT") made.value = old.value;
    }
    old.replaceWith(made);
    part(row, "unit").textContent = field.unit;
  };

  const add = (set) => {
    const list = set.querySelector("[data-condition-list]");
    list.append(template("condition-template", set.dataset.conditions));
    const row = list.lastElementChild;
    part(row, "field").focus();
    limit(set);
  };
  const limit = (set) => {
    const full = set.querySelectorAll("[data-condition]").length >= Number(set.dataset.max);
    set.querySelector("[data-condition-add]").disabled = full;
  };
  const number = (sets) => sets.querySelectorAll("[data-number]").forEach((one, at) => { one.textContent = at + 1; });

  /* What the conditions say, as soon as somebody rests for a moment; of two answers the later question's stays. */
  const checks = new WeakMap();
  const check = (set) => {
    const before = checks.get(set);
    before?.abort();
    const now = new AbortController();
    checks.set(set, now);
    setTimeout(async () => {
      if (now.signal.aborted) return;
      const asked = new URLSearchParams({ prefix: set.dataset.conditions, level: set.dataset.level });
      set.querySelectorAll("[data-part][name]").forEach((one) => asked.append(one.name, one.value));
      try {
        const answer = await fetch(`${set.dataset.check}?${asked}`, { signal: now.signal });
        if (answer.ok && !answer.redirected) set.querySelector(".condition-words").innerHTML = await answer.text();
      } catch {
        // Left alone: it is told again with the next change, and when the form is sent.
      }
    }, 300);
  };
  ["input", "change"].forEach((name) => document.addEventListener(name, (event) => {
    const set = event.target.closest("[data-conditions]");
    if (set) check(set);
  }));

  let made = 0;
  const sets = {
    add: (button) => {
      const holder = document.querySelector("[data-sets]");
      made += 1;
      holder.append(template("set-template", `n${Date.now().toString(36)}${made}`));
      const item = holder.lastElementChild;
      item.querySelector("input:not([type=hidden]), select")?.focus();
      item.scrollIntoView({ block: "nearest" });
      number(holder);
    },
    up: (button, item) => item.previousElementSibling?.before(item),
    down: (button, item) => item.nextElementSibling?.after(item),
    remove: (button, item) => {
      const next = item.nextElementSibling ?? item.previousElementSibling;
      item.remove();
      (next?.querySelector("[data-set=remove]") ?? document.querySelector("[data-set=add]"))?.focus();
    },
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-part=field]")) fit(event.target.closest("[data-condition]"));
    if (event.target.matches("[data-part=window]") && event.target.value) part(event.target.closest("[data-condition]"), "days").focus();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-condition-add], [data-condition-remove], [data-set]");
    if (!button) return;
    const set = button.closest("[data-conditions]");
    if (button.matches("[data-condition-add]")) add(set);
    if (button.matches("[data-condition-remove]")) {
      const row = button.closest("[data-condition]");
      const next = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (next ? part(next, "field") : set.querySelector("[data-condition-add]")).focus();
      limit(set);
      changed(set);
    }
    if (button.dataset.set) {
      const item = button.closest("[data-set-item]");
      const holder = document.querySelector("[data-sets]");
      sets[button.dataset.set](button, item);
      number(holder);
      if (button.dataset.set === "up" || button.dataset.set === "down") button.focus();
    }
  });
  /* Enter in a row would press the first button of the form, whatever that is. */
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("[data-condition] input")) event.preventDefault();
  });
})();
