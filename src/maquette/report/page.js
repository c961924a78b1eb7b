// Draws the charts of this page with Plotly, in the page's own colours, and anew when they change.
(() => {
  "use strict";
  const holder = document.getElementById("charts");
  if (!holder || !window.Plotly) return;
  const charts = JSON.parse(holder.textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads a little HTML in its labels; names of classes and runs are plain text.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const palette = (n) => Array.from({ length: n }, (_, i) =>
    n <= 6 ? colour(`--line-${i}`) : `hsl(${Math.round((360 * i) / n + 18)}, 58%, ${colour("--lightness")})`);

  const base = () => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: colour("--muted") },
    margin: { l: 46, r: 10, t: 6, b: 34 }, showlegend: false, hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
  });
  const axis = () => ({
    gridcolor: colour("--rule"), linecolor: colour("--rule"), zeroline: false, nticks: 5, automargin: true,
  });

  function curve(chart) {
    const colours = palette(Math.max(chart.lines.length, 1));
    const traces = [];
    for (const line of chart.lines) {
      const ink = colours[line.colour % colours.length];
      if (line.low.length) {
        const edge = { x: line.x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
        traces.push({ ...edge, y: line.low });
        traces.push({ ...edge, y: line.high, fill: "tonexty", fillcolor: colour("--band") });
      }
      traces.push({
        x: line.x, y: line.y, mode: line.x.length > 1 ? "lines" : "markers", name: plain(line.name),
        line: { color: ink, width: 1.8 }, hovertemplate: line.name ? "%{y:.4~g} %{fullData.name}<extra></extra>"
          : "%{y:.4~g}<extra></extra>",
      });
    }
    const layout = base();
    layout.xaxis = { ...axis(), showgrid: false, title: { text: chart.x === "minutes" ? "minutes of training" : chart.x } };
    layout.yaxis = { ...axis(), type: chart.log ? "log" : "linear", tickformat: chart.log ? ".4~g" : "" };
    if (chart.flat !== null) {
      const margin = Math.abs(chart.flat) / 2 || 1;
      Object.assign(layout.yaxis, { type: "linear", tickformat: ".3~g", tickvals: [chart.flat],
        range: [chart.flat - margin, chart.flat + margin] });
    }
    layout.shapes = chart.alarms.map((alarm) => ({
      type: "line", x0: alarm.step, x1: alarm.step, yref: "paper", y0: 0, y1: 1,
      line: { color: colour("--warn"), width: 1.2, dash: "dot" },
    }));
    return [traces, layout];
  }

  function scatter(chart) {
    const colours = palette(chart.names.length);
    const traces = chart.names.map((name, i) => ({
      x: chart.x[i], y: chart.y[i], name: plain(name), mode: "markers", type: "scatter",
      marker: { size: 5, color: colours[i], opacity: 0.75 }, hovertemplate: "%{fullData.name}<extra></extra>",
    }));
    const layout = base();
    layout.hovermode = "closest";
    layout.showlegend = chart.names.length > 1;
    layout.legend = { orientation: "h", y: -0.12, itemsizing: "constant" };
    layout.xaxis = { ...axis(), title: { text: "first number of the code" } };
    layout.yaxis = { ...axis(), title: { text: "second" }, scaleanchor: "x" };
    return [traces, layout];
  }

  function draw() {
    for (const [id, chart] of Object.entries(charts)) {
      const element = document.getElementById(id);
      if (!element) continue;
      const [traces, layout] = chart.kind === "scatter" ? scatter(chart) : curve(chart);
      window.Plotly.react(element, traces, layout, {
        responsive: true, displaylogo: false, displayModeBar: chart.kind === "scatter" ? "hover" : false,
      });
    }
    document.documentElement.dataset.charts = "drawn";
  }
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.matchMedia("print").addEventListener("change", draw);
})();
