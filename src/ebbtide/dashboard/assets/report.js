// Turns the plain chart data of the page into ECharts options, in the colours of the current theme.
"use strict";
(function () {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const drawn = new Map();
  const chinese = document.documentElement.lang.startsWith("zh");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const round = (value, percent) => (percent ? value.toFixed(1) + "%" : String(Math.round(value * 1000) / 1000));

  function axis(name, extra) {
    return Object.assign({
      name: name, nameLocation: "middle", nameGap: 30, nameTextStyle: { color: colour("soft") },
      axisLine: { onZero: false, lineStyle: { color: colour("line") } }, axisTick: { show: false },
      axisLabel: { color: colour("soft"), hideOverlap: true }, splitLine: { lineStyle: { color: colour("line") } },
    }, extra);
  }

  // The name of a vertical axis lies flat above it: rotated names are hard to read and, in Chinese, wrong.
  function vertical(name, extra) {
    const made = axis(name, Object.assign({ nameLocation: "end", nameGap: 12 }, extra));
    made.nameTextStyle = { align: "left", color: colour("soft"), padding: [0, 0, 0, -24] };
    return made;
  }

  function base(spec, more) {
    return Object.assign({
      animation: false, textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { left: 8, right: 16, top: spec.flat ? 8 : 34, bottom: 30, containLabel: true },
      tooltip: {
        trigger: "axis", confine: true, backgroundColor: colour("sheet"), borderColor: colour("line"),
        textStyle: { color: colour("ink"), fontSize: 13 },
      },
    }, more);
  }

  function bars(spec) {
    const category = axis(spec.flat ? "" : spec.x, {
      type: "category", data: spec.labels, inverse: !!spec.flat, splitLine: { show: false },
    });
    const value = spec.flat ? axis(spec.x, { type: "value" }) : vertical(spec.y, { type: "value", minInterval: 1 });
    if (spec.flat) Object.assign(category.axisLabel, { width: 120, overflow: "break", interval: 0, hideOverlap: false });
    const marks = (spec.marks || []).map((mark) => ({
      name: mark.label, xAxis: mark.at - 0.5, label: { formatter: mark.label, color: colour("ink") },
    }));
    const series = [{
      type: "bar", name: spec.flat ? spec.x : spec.y, barCategoryGap: "18%", barMaxWidth: spec.flat ? 18 : 60,
      data: spec.values.map((value, i) => ({ value: value, itemStyle: { color: colour(spec.tones ? spec.tones[i] : "main") } })),
    }];
    const option = base(spec, { xAxis: spec.flat ? value : category, yAxis: spec.flat ? category : value, series: series });
    if (marks.length) {
      // A second, numeric axis carries the band limits: they fall between bars, where a category axis has no place.
      option.xAxis = [category, { type: "value", min: -0.5, max: spec.values.length - 0.5, show: false }];
      option.series.push({
        type: "line", xAxisIndex: 1, data: [], silent: true, tooltip: { show: false },
        markLine: { symbol: "none", data: marks, lineStyle: { color: colour("ink"), type: "dashed" } },
      });
    }
    return option;
  }

  function interval(line) {
    const ends = (key) => line.points.map((p, i) => [p[0], line[key][i]]);
    const quiet = { type: "line", symbol: "none", silent: true, lineStyle: { opacity: 0 }, tooltip: { show: false } };
    if (line.style === "band") {
      const width = line.points.map((p, i) => [p[0], line.high[i] - line.low[i]]);
      return [
        Object.assign({}, quiet, { data: ends("low"), stack: line.name, stackStrategy: "all" }),
        Object.assign({}, quiet, { data: width, stack: line.name, stackStrategy: "all", areaStyle: { color: colour("band") } }),
      ];
    }
    return line.points.map((p, i) => Object.assign({}, quiet, {
      data: [[p[0], line.low[i]], [p[0], line.high[i]]], lineStyle: { opacity: 1, color: colour("main"), width: 1.5 },
    }));
  }

  function lines(spec) {
    const percent = new Set(spec.percent || []);
    const format = (key) => (percent.has(key) ? { formatter: "{value}%" } : {});
    const x = axis(spec.x, { type: spec.time ? "time" : "value", splitLine: { show: false } });
    const y = vertical(spec.y, { type: "value", scale: true });
    Object.assign(x.axisLabel, format("x"));
    Object.assign(y.axisLabel, format("y"));
    if (percent.has("x")) Object.assign(x, { min: 0, max: 100 });
    if (percent.has("y")) Object.assign(y, { min: 0, max: 100 });
    const series = [];
    for (const line of spec.lines) {
      const plain = line.style === "reference";
      if (!plain) series.push(...interval(line));
      series.push({
        type: "line", name: line.name, data: line.points, symbolSize: 6, showSymbol: !plain && line.points.length <= 15,
        lineStyle: { color: colour(plain ? "reference" : "main"), type: plain ? "dashed" : "solid", width: 2 },
        itemStyle: { color: colour(plain ? "reference" : "main") }, tooltip: { show: !plain },
      });
    }
    const option = base(spec, { xAxis: x, yAxis: y, series: series });
    if (spec.lines.length > 1) {
      option.legend = {
        data: spec.lines.map((line) => line.name), top: 0, right: 8, icon: "rect", itemHeight: 3, itemWidth: 18,
        textStyle: { color: colour("soft") },
      };
    }
    option.tooltip.formatter = function (entries) {
      const shown = entries.filter((entry) => entry.seriesName === spec.lines[0].name);
      if (!shown.length) return "";
      const line = spec.lines[0], i = shown[0].dataIndex, point = line.points[i];
      const place = spec.time ? new Date(point[0]).toISOString().slice(0, 10) : round(point[0], percent.has("x"));
      const body = document.createElement("div");
      body.innerText = spec.x + ": " + place + "\n" + spec.y + ": " + round(point[1], percent.has("y")) +
        " (" + round(line.low[i], percent.has("y")) + " – " + round(line.high[i], percent.has("y")) + ")";
      return body;
    };
    return option;
  }

  function draw() {
    for (const [id, spec] of Object.entries(specs)) {
      const place = document.getElementById(id);
      if (spec.flat) place.style.height = 70 + 30 * spec.labels.length + "px";
      if (!drawn.has(id)) drawn.set(id, echarts.init(place, null, { renderer: "svg", locale: chinese ? "ZH" : "EN" }));
      drawn.get(id).setOption(spec.kind === "bars" ? bars(spec) : lines(spec), true);
    }
  }
  function fit() { drawn.forEach((chart) => chart.resize()); }

  draw();
  new ResizeObserver(fit).observe(document.querySelector("main"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const print = matchMedia("print");
  print.addEventListener("change", function () { draw(); fit(); });
  addEventListener("beforeprint", fit);
  addEventListener("afterprint", fit);
})();
