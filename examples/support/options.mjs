/** The number that an option of the command line gives. Throws a RangeError for any other text. */
export function wholeNumber(options, name, most) {
  const value = Number(options[name]);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new RangeError(`Expected a whole number from 1 to ${most} for --${name} but received '${options[name]}'`);
}
