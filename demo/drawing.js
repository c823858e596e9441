const { default: colors } = require('ansis');
const { side } = require('./digits');

const margin = 2; // of an image, where there is next to nothing
const width = side - 2 * margin;
const gap = '  ';
const shades = ' ░▒▓█';

/** How many images fit next to each other; three even where a terminal is too narrow. */
function imagesPerLine(columns) {
  return Math.max(3, Math.floor((columns + gap.length) / (width + gap.length)));
}

/**
 * Images (784 pixels each, from 0 to 1) side by side as text, each above its caption. A character shows two pixels: in
 * colours as its upper and lower half, without colours by the shade between them.
 */
function drawImages(images, captions) {
  const character = colors.level > 0 ? halfBlock : shade;
  const lines = [];
  for (let y = margin; y < side - margin; y += 2) {
    lines.push(images.map((image) => drawLine(image, y, character)).join(gap));
  }
  lines.push(captions.map((caption) => caption.padEnd(width)).join(gap));
  return lines.map((line) => line.trimEnd()).join('\n');
}

function drawLine(image, y, character) {
  const start = y * side + margin;
  const upper = image.slice(start, start + width);
  const lower = image.slice(start + side, start + side + width);
  return Array.from(upper, (light, x) => character(light, lower[x])).join('');
}

const shade = (upper, lower) => shades[Math.round(((upper + lower) / 2) * (shades.length - 1))];

function halfBlock(upper, lower) {
  const [above, below] = [upper, lower].map((light) => Math.round(light * 255));
  return colors.rgb(above, above, above).bgRgb(below, below, below)('▀');
}

module.exports = { drawImages, imagesPerLine };
