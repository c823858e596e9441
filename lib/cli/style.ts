import { Ansis } from 'ansis';

const { NO_COLOR, FORCE_COLOR } = process.env;

// By itself ansis has colours in a pipe, too, where CI is set: whoever reads that is a program.
const isWanted = !NO_COLOR && (FORCE_COLOR !== undefined || process.stdout.isTTY);

/** Colours for people who look at a terminal, or ask for them. */
export const style = isWanted ? new Ansis() : new Ansis(0);
