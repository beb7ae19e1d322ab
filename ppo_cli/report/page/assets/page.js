"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  /* Numbers as charts.py packs them: the least, a step, and how many steps each lies above the least. */
  function unpack([least, step, text]) {
    const bytes = atob(text), level = (at) => bytes.charCodeAt(2 * at) + 256 * bytes.charCodeAt(2 * at + 1);
    return Array.from({ length: bytes.length / 2 }, (_, at) => least + step * level(at));
  }
  data.arrays = data.arrays.map((kept) => (typeof kept[2] === "string" ? unpack(kept) : kept));
  const COLOURS = 7, DASHES = [[], [9, 4], [2, 3], [9, 3, 2, 3]], MOST_POINTS = 2000, MOST_TOLD = 10;
  const charts = [];
  const shown = data.sections.map((names) => names.map(() => true));
  const lit = data.sections.map(() => null); // the group that the legend points at

  // Numbers as the verdict tells them.
  const grouped = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  function number(value) {
    const size = Math.abs(value);
    if (size >= 1e4) return grouped(value, 0).replace("-", "−");
    if (size >= 10) return grouped(value, 1).replace("-", "−");
    return String(Number(value.toPrecision(3))).replace("-", "−");
  }
  function short(value) {
    const size = Math.abs(value);
    const [by, sign] = size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : size >= 1e4 ? [1e3, "k"] : [1, ""];
    return String(Number((value / by).toPrecision(6))).replace("-", "−") + sign;
  }
  // Wall time in the unit that suits its length.
  const unitOf = (seconds) => (seconds >= 10800 ? [3600, "hours"] : seconds >= 180 ? [60, "minutes"] : [1, "seconds"]);
  const place = (group) => (group < COLOURS ? `c${group}` : "cx");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  function faint(colour, opacity) {
    const value = parseInt(colour.slice(1), 16);
    return `rgb(${value >> 16} ${(value >> 8) & 255} ${value & 255} / ${opacity})`;
  }

  /* What a view draws: all groups at the same places, straight between the points of each; null where one has none. */
  function prepare(view) {
    const groups = view.groups.map((group, number) => group && {
      number, seeds: (group.seeds || []).map(([at, values, seed]) => ({ at: data.arrays[at], values: data.arrays[values], seed })),
      at: data.arrays[group.at], middle: data.arrays[group.middle], low: data.arrays[group.low], high: data.arrays[group.high],
    }).filter(Boolean).reverse(); // the best group is drawn last, above the others
    let unit = "";
    if (view.kind === "time") {
      const last = Math.max(...groups.flatMap((group) => [group.at.at(-1), ...group.seeds.map((seed) => seed.at.at(-1))]));
      const [by, name] = unitOf(last);
      unit = name;
      const divided = new Map();
      const divide = (list) => divided.get(list) || divided.set(list, list.map((value) => value / by)).get(list);
      for (const group of groups) {
        group.at = divide(group.at);
        for (const seed of group.seeds) seed.at = divide(seed.at);
      }
    }
    const every = new Set(groups.flatMap((group) => [...group.at, ...group.seeds.flatMap((seed) => [seed.at[0], seed.at.at(-1)])]));
    let x = [...every].sort((a, b) => a - b);
    if (x.length > MOST_POINTS) {
      const [first, last] = [x[0], x.at(-1)];
      x = Array.from({ length: MOST_POINTS / 2 }, (_, at) => first + ((last - first) * at) / (MOST_POINTS / 2 - 1));
    }
    for (const group of groups) for (const name of ["middle", "low", "high"]) group[`${name}At`] = between(x, group.at, group[name]);
    return { groups, unit, x, label: unit ? `${view.x} (${unit})` : view.x, kind: view.kind };
  }
  function between(x, at, values) {
    let next = 0;
    return x.map((here) => {
      if (here < at[0] || here > at.at(-1)) return null;
      while (at[next] < here) next += 1;
      if (at[next] === here) return values[next];
      const part = (here - at[next - 1]) / (at[next] - at[next - 1]);
      return values[next - 1] + part * (values[next] - values[next - 1]);
    });
  }

  function button(text, kind, meaning) {
    const made = Object.assign(document.createElement("button"), { type: "button", className: kind, textContent: text, title: meaning });
    if (kind) made.ariaLabel = meaning;
    return made;
  }

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.spec = data.charts[figure.dataset.chart];
      this.holder = figure.querySelector(".plot");
      this.live = figure.querySelector(".live");
      this.seeds = this.bands = true;
      this.views = [];
      this.tip = document.createElement("div");
      this.tip.className = "tip";
      this.tip.hidden = true;
      for (const [kind, sign, meaning] of [["out", "−", "Zoom out"], ["in", "+", "Zoom in"], ["all", "All", "Show all"]]) {
        figure.querySelector(".tools").append(button(sign, kind, meaning));
      }
      this.listen();
      this.make(0);
      new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.holder);
    }
    size() { return { width: Math.max(this.holder.clientWidth, 120), height: this.holder.clientHeight }; }
    visible(group) { return shown[this.spec.section][group.number]; }
    width(group) { return lit[this.spec.section] === group.number ? 3.5 : group.number < COLOURS ? 2 : 1; }
    make(view) {
      this.view = this.views[view] ||= prepare(this.spec.views[view]);
      const { x, groups, label } = this.view;
      this.plot?.destroy();
      const axis = (more) => ({
        stroke: () => style("grey"), grid: { stroke: () => style("grid"), width: 1 }, ticks: { show: false },
        font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 22, ...more,
      });
      this.plot = new uPlot({
        ...this.size(),
        legend: { show: false },
        padding: [8, 22, 0, 0],
        cursor: { y: false, drag: { x: true, y: false, setScale: true }, points: { size: 8 } },
        scales: {
          x: { time: false, range: (_, least, most) => (this.reach = least === most ? [least - 1, most + 1] : [least, most]) },
          y: { range: () => this.range() },
        },
        axes: [
          axis({ label, size: 30, space: 70, values: (_, ticks) => ticks.map(short) }),
          axis({ label: this.spec.y, size: 56, values: (_, ticks) => ticks.map(short) }),
        ],
        series: [{}, ...groups.map((group) => ({
          show: this.visible(group), scale: "y", stroke: () => style(lit[this.spec.section] === group.number ? "ink" : place(group.number)),
          width: this.width(group), dash: group.number < COLOURS ? DASHES[group.number % 4] : [],
          points: { show: group.at.length === 1, size: 8, fill: () => style(place(group.number)) },
        }))],
        hooks: {
          drawAxes: [(plot) => this.behind(plot)],
          setCursor: [() => this.tell()],
          ready: [(plot) => plot.over.append(this.tip)],
        },
      }, [x, ...groups.map((group) => group.middleAt)], this.holder);
    }
    /* The least and greatest of what is shown, with a little air. */
    range() {
      const [from, to] = this.reach; // the x that is being set, which the plot itself does not have yet
      let least = Infinity, most = -Infinity;
      const take = (value) => { least = Math.min(least, value); most = Math.max(most, value); };
      const look = (at, values) => at.forEach((here, count) => { if (here >= from && here <= to) take(values[count]); });
      for (const group of this.view.groups) {
        if (!this.visible(group)) continue;
        for (const name of this.bands ? ["middleAt", "lowAt", "highAt"] : ["middleAt"]) {
          this.view.x.forEach((here, count) => { if (here >= from && here <= to && group[name][count] !== null) take(group[name][count]); });
        }
        if (this.seeds) for (const seed of group.seeds) look(seed.at, seed.values);
      }
      if (least > most) [least, most] = [0, 1];
      const air = (most - least) * 0.04 || Math.abs(most) * 0.1 || 1;
      return [least - air, most + air];
    }
    /* Bands, seeds and the threshold, behind the curves. */
    behind(plot) {
      const { ctx, bbox } = plot, ratio = devicePixelRatio || 1;
      const at = (x, y) => [plot.valToPos(x, "x", true), plot.valToPos(y, "y", true)];
      const along = (xs, ys) => xs.forEach((x, count) => (ys[count] === null ? 0 : ctx.lineTo(...at(x, ys[count]))));
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      for (const group of this.view.groups) {
        if (!this.visible(group)) continue;
        const colour = style(place(group.number)), named = group.number < COLOURS;
        if (this.bands && named) {
          ctx.beginPath();
          along(this.view.x, group.lowAt);
          along([...this.view.x].reverse(), [...group.highAt].reverse());
          ctx.fillStyle = faint(colour, 0.16);
          ctx.fill();
        }
        if (this.seeds && named && group.seeds.length > 1) {
          ctx.strokeStyle = faint(colour, 0.38);
          ctx.lineWidth = 0.8 * ratio;
          for (const seed of group.seeds) {
            ctx.beginPath();
            along(seed.at, seed.values);
            ctx.stroke();
          }
        }
      }
      if (this.spec.line !== null) {
        ctx.setLineDash([4 * ratio, 3 * ratio]);
        ctx.strokeStyle = ctx.fillStyle = style("grey");
        ctx.lineWidth = ratio;
        ctx.beginPath();
        const [, height] = at(0, this.spec.line);
        ctx.moveTo(bbox.left, height);
        ctx.lineTo(bbox.left + bbox.width, height);
        ctx.stroke();
        ctx.font = `${11 * ratio}px system-ui, sans-serif`;
        ctx.textAlign = "left";
        ctx.fillText("threshold", bbox.left + 4 * ratio, height - 4 * ratio);
      }
      ctx.restore();
    }
    /* What each group is where the cursor stands; of one that has ended or not begun, that. */
    rows(count) {
      const here = this.view.x[count];
      const own = this.view.groups.filter((group) => this.visible(group)).map((group) => {
        const name = data.sections[this.spec.section][group.number], value = group.middleAt[count];
        if (value !== null) return { group, name, value, told: number(value), range: this.span(group, count) };
        const ended = here > group.at.at(-1);
        return { group, name, value, end: `${ended ? "ended" : "begins"} at ${this.where(ended ? group.at.at(-1) : group.at[0])}` };
      });
      return own.sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity));
    }
    span(group, count) {
      const [low, high] = [group.lowAt[count], group.highAt[count]];
      return low === high ? "" : `${number(low)} to ${number(high)}`;
    }
    where(x) {
      if (this.view.kind === "steps") return `step ${grouped(x, 0)}`;
      return this.view.unit ? `${number(x)} ${this.view.unit}` : `score ${number(x)}`;
    }
    tell() {
      const { left, idx } = this.plot.cursor;
      this.tip.hidden = idx == null || left < 0;
      if (this.tip.hidden) return;
      const rows = this.rows(idx), head = document.createElement("b");
      head.textContent = this.where(this.view.x[idx]);
      const lines = rows.slice(0, MOST_TOLD).map((row) => {
        const line = document.createElement("div");
        line.className = place(row.group.number);
        line.append(document.createElement("i"));
        const parts = row.end ? [["name", row.name], ["end", row.end]] : [["name", row.name], ["value", row.told], ["range", row.range]];
        for (const [kind, text] of parts) {
          const part = document.createElement("span");
          part.className = kind;
          part.textContent = text;
          line.append(part);
        }
        return line;
      });
      const rest = document.createElement("span");
      rest.className = "end";
      rest.textContent = rows.length > MOST_TOLD ? `and ${rows.length - MOST_TOLD} more` : "";
      this.tip.replaceChildren(head, ...lines, rest);
      const { clientWidth: width, clientHeight: height } = this.plot.over;
      const beside = left + 16 + this.tip.offsetWidth <= width ? left + 16 : left - 16 - this.tip.offsetWidth;
      this.tip.style.left = `${Math.max(0, Math.min(beside, width - this.tip.offsetWidth))}px`;
      this.tip.style.top = `${Math.max(0, Math.min(10, height - this.tip.offsetHeight))}px`;
    }
    zoom(factor) {
      const { min, max } = this.plot.scales.x, { x } = this.view, { left } = this.plot.cursor;
      const middle = left >= 0 ? this.plot.posToVal(left, "x") : (min + max) / 2;
      const [from, to] = [middle - (middle - min) * factor, middle + (max - middle) * factor];
      this.plot.setScale("x", { min: Math.max(x[0], from), max: Math.min(x.at(-1), to) });
    }
    all() { this.plot.setScale("x", { min: this.view.x[0], max: this.view.x.at(-1) }); }
    move(by) {
      const { x } = this.view, { min, max } = this.plot.scales.x;
      const inside = x.map((_, count) => count).filter((count) => x[count] >= min && x[count] <= max);
      if (!inside.length) return;
      const { idx, left } = this.plot.cursor;
      const from = idx == null || left < 0 ? (by > 0 ? -1 : inside.length) : inside.indexOf(idx);
      const count = inside[Math.max(0, Math.min(inside.length - 1, from + by))];
      this.plot.setCursor({ left: this.plot.valToPos(x[count], "x"), top: 20 });
      this.live.textContent = [this.where(x[count]), ...this.rows(count).slice(0, MOST_TOLD).map((row) => `${row.name} ${row.end || row.told}`)].join("; ");
    }
    hush() { this.plot.setCursor({ left: -10, top: -10 }); }
    listen() {
      const on = (name, event, act) => this.figure.querySelector(name)?.addEventListener(event, act);
      on(".in", "click", () => this.zoom(0.5));
      on(".out", "click", () => this.zoom(2));
      on(".all", "click", () => this.all());
      on(".view", "change", (event) => this.make(Number(event.target.value)));
      on(".bands", "change", (event) => { this.bands = event.target.checked; this.again(); });
      on(".seeds", "change", (event) => { this.seeds = event.target.checked; this.again(); });
      const keys = {
        ArrowRight: (far) => this.move(far ? 10 : 1), ArrowLeft: (far) => this.move(far ? -10 : -1),
        Home: () => this.move(-1e9), End: () => this.move(1e9),
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), "0": () => this.all(), Escape: () => { this.hush(); this.all(); },
      };
      this.holder.addEventListener("keydown", (event) => {
        if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        keys[event.key](event.shiftKey);
      });
      this.holder.addEventListener("blur", () => this.hush());
    }
    /* Draw anew, with what is shown now. */
    again() {
      this.view.groups.forEach((group, count) => {
        this.plot.series[count + 1].width = this.width(group);
        if (this.plot.series[count + 1].show !== this.visible(group)) this.plot.setSeries(count + 1, { show: this.visible(group) });
      });
      const { min, max } = this.plot.scales.x;
      this.plot.setScale("x", { min, max });
      this.plot.redraw();
    }
  }

  // A chart is made when it comes near: a page of many is there at once.
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      charts.push(new Chart(target));
    }
  }, { rootMargin: "400px" });
  document.querySelectorAll("figure[data-chart]").forEach((figure) => near.observe(figure));

  document.querySelectorAll(".legend").forEach((legend) => {
    const section = Number(legend.dataset.section), boxes = [...legend.querySelectorAll("input")];
    const again = () => {
      for (const box of boxes) shown[section][Number(box.dataset.place)] = box.checked;
      charts.filter((chart) => chart.spec.section === section).forEach((chart) => chart.again());
    };
    legend.addEventListener("change", again);
    legend.querySelectorAll("[data-every]").forEach((button) => button.addEventListener("click", () => {
      for (const box of boxes) box.checked = Boolean(button.dataset.every);
      again();
    }));
    const point = (at) => {
      const label = at?.closest?.("label"), group = label ? Number(label.querySelector("input").dataset.place) : null;
      if (lit[section] === group) return;
      lit[section] = group;
      again();
    };
    for (const event of ["pointerover", "focusin"]) legend.addEventListener(event, ({ target }) => point(target));
    for (const event of ["pointerleave", "focusout"]) legend.addEventListener(event, () => point(null));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.plot.redraw(false)));

  // Tables: what has no value comes last, whichever way.
  const NUMBER = /(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/;
  /* Texts in the order of people: numbers within them by their size. */
  function compare(one, other) {
    const [a, b] = [one.split(NUMBER), other.split(NUMBER)]; // every second part is a number
    for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
      const apart = at % 2 ? Number(a[at]) - Number(b[at]) : a[at].localeCompare(b[at], "en");
      if (apart) return apart;
    }
    return a.length - b.length;
  }
  function key(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.n !== undefined) return [0, Number(cell.dataset.n)];
    return cell.dataset.t !== undefined ? [1, cell.textContent] : [2, 0];
  }
  function sort(table, head) {
    const way = head.getAttribute("aria-sort") === "descending" ? 1 : head.getAttribute("aria-sort") === "ascending" ? -1 : 0;
    const column = head.cellIndex, body = table.tBodies[0], rows = [...body.rows].map((row) => [key(row, column), row]);
    const numbers = rows.some(([[kind]]) => kind === 0);
    const sign = way || (numbers ? -1 : 1); // numbers begin with the greatest, names with the first
    rows.sort(([[kind, a]], [[other, b]]) => {
      if (kind !== other) return kind === 2 || other === 2 ? kind - other : sign * (kind - other);
      return sign * (kind === 1 ? compare(a, b) : a - b);
    });
    body.append(...rows.map(([, row]) => row));
    for (const one of head.parentNode.cells) one.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  }
  document.querySelectorAll("table.sortable").forEach((table) => {
    for (const head of table.tHead.rows[0].cells) {
      const press = button(head.textContent, "", head.title), arrow = document.createElement("span");
      arrow.className = "arrow";
      arrow.ariaHidden = "true";
      press.append(arrow);
      press.addEventListener("click", () => sort(table, head));
      head.ariaSort = "none";
      head.removeAttribute("title");
      head.replaceChildren(press);
    }
  });
})();
