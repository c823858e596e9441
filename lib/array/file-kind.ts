/** The safetensors format allows no longer header. */
export const maxTensorsHeaderBytes = 100_000_000;

const arrowMagic = 'ARROW1\0\0';
const openingBrace = 0x7b;

/** What a file that is no array begins like. */
export function kindOfForeign(start: Buffer, fileBytes: number): 'table' | 'tensors' | 'foreign' {
  if (start.length <= 8) return 'foreign';
  if (start.toString('latin1', 0, 8) === arrowMagic) return 'table';
  const headerBytes = Number(start.readBigUInt64LE(0));
  const isHeader = headerBytes >= 2 && headerBytes <= maxTensorsHeaderBytes && 8 + headerBytes <= fileBytes;
  return isHeader && start[8] === openingBrace ? 'tensors' : 'foreign';
}
