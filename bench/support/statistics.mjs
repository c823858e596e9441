/** The value below which the share `q` of the values lies. */
export function quantile(values, q) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

export const median = (values) => quantile(values, 0.5);

/** Results of the same shape made one, of the median of each number; undefined if there are none. */
export function medians(results) {
  if (results.length === 0) return undefined;
  const [one] = results;
  if (typeof one === 'number') return median(results);
  return Object.fromEntries(Object.keys(one).map((key) => [key, medians(results.map((each) => each[key]))]));
}
