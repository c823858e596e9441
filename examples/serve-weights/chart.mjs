import ansis from 'ansis';

const height = 8;
const blocks = ' ▁▂▃▄▅▆▇█';
const colours = [ansis.blue, ansis.cyan];

/**
 * Shares (0 to 1, or NaN) as columns of a chart. They come in groups of equal length, which have a colour in turn and
 * a caption.
 */
export function drawChart(groups) {
  const lines = [];
  for (let above = height - 1; above >= 0; above--) {
    const label = above === height - 1 ? '100 %' : '';
    const bars = groups.map(({ shares }, n) => colours[n % 2](shares.map((share) => blockAt(share, above)).join('')));
    lines.push(`${label.padStart(6)} │${bars.join('')}`);
  }
  const captions = groups.map(({ shares, caption }) => caption.padEnd(shares.length));
  lines.push(`${'0 %'.padStart(6)} └${groups.map(({ shares }) => '─'.repeat(shares.length)).join('')}`);
  lines.push(`${' '.repeat(8)}${captions.join('')}`.trimEnd());
  return lines.join('\n');
}

function blockAt(share, above) {
  const eighths = Math.round((share * height - above) * 8);
  return blocks[Math.min(Math.max(eighths || 0, 0), 8)];
}
