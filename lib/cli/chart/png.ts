import { Resvg } from '@resvg/resvg-js';

export interface Picture {
  readonly png: Buffer;
  /** False if the machine has no font at all: the text is missing. */
  readonly hasText: boolean;
}

/** The picture of an SVG document, with the fonts of this machine. */
export function pngOf(svg: string): Picture {
  const font = { loadSystemFonts: true, defaultFontFamily: 'DejaVu Sans' };
  const probe = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text y="9">A</text></svg>';
  return {
    png: new Resvg(svg, { font }).render().asPng(),
    hasText: new Resvg(probe, { font }).getBBox() !== undefined,
  };
}
