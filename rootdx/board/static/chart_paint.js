// What lies under and over the lines of a chart.

export function paintBelow(chart, given, colour) {
  const { ctx, bbox } = chart;
  ctx.save();
  clip(ctx, bbox);
  (given.phases || []).forEach((one, i) => {
    const [left, right] = edges(chart, one.from, one.to);
    ctx.fillStyle = colour(one.tint || (i % 2 ? "phase-b" : "phase-a"));
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  });
  for (const one of given.stretches || []) {
    const [left, right] = edges(chart, one.from, one.to);
    hatch(ctx, left, bbox.top, Math.max(right - left, 3), bbox.height, colour(one.bad ? "bad-line" : "doubt-line"));
  }
  ctx.restore();
}

export function paintAbove(chart, given, colour) {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio || 1;
  ctx.save();
  ctx.font = `${11 * ratio}px Pretendard, sans-serif`;
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left";
  let free = -Infinity;
  for (const one of given.phases || []) {
    const [left, right] = edges(chart, one.from, one.to);
    const width = ctx.measureText(one.name).width;
    const at = Math.max(left, bbox.left) + 2 * ratio;
    if (right - Math.max(left, bbox.left) < Math.min(width + 4 * ratio, 26 * ratio) || at < free || right < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.fillStyle = colour("ink-2");
    const room = right - at;
    ctx.fillText(width <= room ? one.name : cut(ctx, one.name, room), at, bbox.top - 3 * ratio);
    free = at + Math.min(width, room) + 3 * ratio;
  }
  clip(ctx, bbox);
  for (const one of given.limits || []) {
    const y = Math.round(chart.valToPos(one.value, "y", true));
    ctx.strokeStyle = colour(one.colour || "limit");
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([7 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    if (one.text) {
      ctx.fillStyle = colour("ink-2");
      const above = y - bbox.top > 16 * ratio;
      ctx.fillText(one.text, bbox.left + 6 * ratio, above ? y - 2 * ratio : y + 15 * ratio);
    }
  }
  ctx.setLineDash([]);
  for (const one of given.marks || []) {
    const x = Math.round(chart.valToPos(one.at, "x", true));
    ctx.strokeStyle = colour("ink-1");
    ctx.lineWidth = 1.5 * ratio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function clip(ctx, bbox) {
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
}

function edges(chart, from, to) {
  const { min, max } = chart.scales.x;
  const left = chart.valToPos(Math.max(from, min), "x", true);
  const right = chart.valToPos(Math.min(to ?? max, max), "x", true);
  return [left, Math.max(left, right)];
}

function cut(ctx, text, room) {
  let kept = text;
  while (kept.length > 1 && ctx.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return kept.length > 1 ? `${kept}…` : "";
}

function hatch(ctx, left, top, width, height, stroke) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.strokeStyle = stroke;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let x = left - height; x < left + width; x += 8) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}
