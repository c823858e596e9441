import { readdirSync } from 'node:fs';
import { Argument, type Command, type Option } from 'commander';
import { type OutputOptions, print } from '../output';

// Shells ask `ndshm completion SHELL -- WORD…` what may stand for the last word. Only what is plain in every shell is
// offered: the names that ndshm allows, and no file of somebody else's with a command in its name.

// Known to the addon as well, which completing a command need not wait for.
const directory = '/dev/shm';
const plainName = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

interface Candidate {
  readonly value: string;
  readonly description: string;
}

/** The shell's own business. */
const files = ':files';

type Shell = keyof typeof scripts;

export function define(command: Command): void {
  command
    .addArgument(new Argument('<shell>', 'that is to complete').choices(Object.keys(scripts)))
    .argument('[word...]', 'after --: print what may stand for the last of these words, instead')
    .addHelpText('after', '\nIn ~/.bashrc: eval "$(ndshm completion bash)". In fish: ndshm completion fish | source')
    .action(async (shell: Shell, words: string[], options: OutputOptions) => {
      if (words.length === 0) {
        print(options, scripts[shell], () => scripts[shell]);
        return;
      }
      const found = await candidatesFor(command.parent as Command, words);
      print(options, found, () => (found === files ? files : found.map(lines[shell]).join('\n')));
    });
}

async function candidatesFor(program: Command, words: readonly string[]): Promise<readonly Candidate[] | typeof files> {
  const last = words.at(-1) as string;
  const all = await candidatesAt(placeOf(program, words.slice(0, -1)), last);
  return all === files ? files : all.filter(({ value }) => value.startsWith(last));
}

interface Place {
  readonly command: Command;
  /** Which of its arguments is next. */
  readonly argument: number;
  /** The option whose value is next. */
  readonly option: Option | undefined;
}

function placeOf(program: Command, words: readonly string[]): Place {
  let place: Place = { command: program, argument: 0, option: undefined };
  for (const word of words) {
    const { command, argument, option } = place;
    const inner = argument === 0 ? command.commands.find((each) => each.name() === word) : undefined;
    if (option !== undefined) place = { ...place, option: undefined };
    else if (word.startsWith('-')) place = { ...place, option: valuedOption(command, word) };
    else if (inner !== undefined) place = { ...place, command: inner };
    else place = { ...place, argument: argument + 1 };
  }
  return place;
}

const valuedOption = (command: Command, word: string): Option | undefined =>
  command.options.find((option) => option.required && (option.long === word || option.short === word));

async function candidatesAt(place: Place, typed: string): Promise<readonly Candidate[] | typeof files> {
  const { command, argument, option } = place;
  if (option !== undefined) return option.flags.endsWith('<file>') ? files : plain(option.argChoices ?? []);
  const help = command.createHelp();
  if (typed.startsWith('-')) {
    return help.visibleOptions(command).map(({ long, description }) => ({ value: long ?? '', description }));
  }
  if (command.commands.length > 0 && argument === 0) {
    return help.visibleCommands(command).map((each) => ({ value: each.name(), description: each.description() }));
  }
  const all = command.registeredArguments;
  const last = all.at(-1);
  const next = all[argument] ?? (last?.variadic === true ? last : undefined);
  if (next === undefined) return [];
  if (next.argChoices !== undefined) return plain(next.argChoices);
  return next.name() === 'file' ? files : plain(await namesFor(command));
}

const plain = (values: readonly string[]): Candidate[] => values.map((value) => ({ value, description: '' }));

/** The stores for `store`, else all names. */
async function namesFor(command: Command): Promise<string[]> {
  const entries = readdirSync(directory, { withFileTypes: true });
  const names = entries.flatMap((entry) => (entry.isFile() && plainName.test(entry.name) ? [entry.name] : []));
  if (command.parent?.name() !== 'store') return names;
  const { allSegments } = await import('../segments.js');
  return allSegments().flatMap(({ name, primitive }) => (primitive?.kind === 'Store' ? [name] : []));
}

const lines = {
  bash: ({ value }: Candidate) => value,
  zsh: ({ value, description }: Candidate) => (description === '' ? value : `${value}:${description}`),
  fish: ({ value, description }: Candidate) => (description === '' ? value : `${value}\t${description}`),
};

const scripts = {
  bash: `_ndshm() {
  mapfile -t COMPREPLY < <(ndshm completion bash -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [[ \${COMPREPLY[0]-} == ${files} ]]; then
    COMPREPLY=()
    compopt -o default
  fi
}
complete -F _ndshm ndshm`,
  zsh: `#compdef ndshm
_ndshm() {
  local -a found
  found=("\${(@f)$(ndshm completion zsh -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ $found[1] == ${files} ]]; then
    _files
  elif [[ -n $found[1] ]]; then
    _describe ndshm found
  fi
}
if [[ $funcstack[1] == _ndshm ]]; then
  _ndshm "$@"
else
  compdef _ndshm ndshm
fi`,
  fish: `function __ndshm_complete
  set -l before (commandline -opc)
  set -l last (commandline -ct)
  set -e before[1]
  set -l found (ndshm completion fish -- $before "$last" 2>/dev/null)
  if test "$found[1]" = ${files}
    __fish_complete_path "$last"
  else
    printf '%s\\n' $found
  end
end
complete -c ndshm -f -a '(__ndshm_complete)'`,
};
