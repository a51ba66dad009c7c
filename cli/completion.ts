/**
 * `npx spendlock completion`: what a shell needs to complete commands, options and their choices. It is made from the commands, and
 * says all of it at once: a shell that asked at each key would wait a second each time (docs/decisions/0042).
 */
import { Argument, Command } from 'commander';
import { example } from './options';

/** What may follow the words of a command. */
interface Place {
  /** The commands so far, such as `budget set`; nothing for the first. */
  words: string;
  options: { flags: string[]; choices: readonly string[] }[];
  children: string[];
}

function placesOf(command: Command, words: string[] = []): Place[] {
  const { commands, options } = command;
  const place = {
    words: words.join(' '),
    options: options.map(({ short, long, argChoices = [] }) => ({
      flags: [short, long].filter((flag) => flag !== undefined),
      choices: argChoices,
    })),
    // A shell is told of the first name only.
    children: commands.map((child) => child.name()),
  };
  return [
    place,
    ...commands.flatMap((child) =>
      [child.name(), ...child.aliases()].flatMap((name) => placesOf(child, [...words, name])),
    ),
  ];
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
const wordsAfter = ({ options, children }: Place): string[] => [
  ...children,
  ...options.flatMap(({ flags }) => flags),
  '--help',
];
type Answers = [words: string, found: string[]][];
/** What may follow each command. */
const afterOf = (places: readonly Place[]): Answers => places.map((place) => [place.words, wordsAfter(place)]);
/** What an option of each command may be. */
const choicesOf = (places: readonly Place[]): Answers =>
  places.flatMap(({ words, options }) =>
    options
      .filter(({ choices }) => choices.length > 0)
      .flatMap(({ flags, choices }) =>
        flags.map((flag): [string, string[]] => [`${words} ${flag}`.trim(), [...choices]]),
      ),
  );

const shellCases = (answers: Answers): string =>
  answers.map(([words, found]) => `        ${quoted(words)}) echo ${quoted(found.join(' '))} ;;`).join('\n');
const fishCases = (answers: Answers): string =>
  answers
    .map(([words, found]) => `        case ${quoted(words)}\n            echo ${quoted(found.join(' '))}`)
    .join('\n');

/** Bash and zsh read the same two questions: what follows these words, and what an option of theirs may be. */
const questions = (places: readonly Place[]): string => `_spendlock_after() {
    case "$1" in
${shellCases(afterOf(places))}
    esac
}
_spendlock_choices() {
    case "$1" in
${shellCases(choicesOf(places))}
    esac
}
# The commands among the words before the cursor.
_spendlock_place() {
    local place='' word
    for word in "$@"; do
        if [ -n "$(_spendlock_after "$place\${place:+ }$word")" ]; then place="$place\${place:+ }$word"; fi
    done
    echo "$place"
}`;

const scripts = {
  bash: (places: readonly Place[]): string => `# Completion of spendlock for bash: source <(spendlock completion bash)
${questions(places)}
_spendlock() {
    local place found
    place="$(_spendlock_place "\${COMP_WORDS[@]:1:COMP_CWORD-1}")"
    found="$(_spendlock_choices "$place \${COMP_WORDS[COMP_CWORD-1]}")"
    COMPREPLY=($(compgen -W "\${found:-$(_spendlock_after "$place")}" -- "\${COMP_WORDS[COMP_CWORD]}"))
    if [ \${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")); fi
}
complete -F _spendlock spendlock
`,
  zsh: (places: readonly Place[]): string => `#compdef spendlock
# Completion of spendlock for zsh: source <(spendlock completion zsh)
${questions(places)}
_spendlock() {
    local place found
    place="$(_spendlock_place "\${words[@]:1:CURRENT-2}")"
    found="$(_spendlock_choices "$place \${words[CURRENT-1]}")"
    compadd -- \${=\${found:-$(_spendlock_after "$place")}} || _files
}
compdef _spendlock spendlock
`,
  fish: (places: readonly Place[]): string => `# Completion of spendlock for fish: spendlock completion fish | source
function __spendlock_after
    switch "$argv[1]"
${fishCases(afterOf(places))}
    end
end
function __spendlock_choices
    switch "$argv[1]"
${fishCases(choicesOf(places))}
    end
end
function __spendlock_complete
    set -l words (commandline -opc)
    set -l place ''
    for word in $words[2..-1]
        set -l longer (string trim -- "$place $word")
        if test -n "$(__spendlock_after $longer)"
            set place $longer
        end
    end
    set -l found (__spendlock_choices (string trim -- "$place $words[-1]"))
    if test -z "$found"
        set found (__spendlock_after $place)
    end
    set -l found (string split ' ' -- $found)
    # Files, where nothing of that begins so.
    set -l begun (commandline -ct)
    if string match -qr -- '^'(string escape --style=regex -- "$begun") $found
        string join \\n -- $found
    else
        __fish_complete_path $begun
    end
end
complete -c spendlock -f -a '(__spendlock_complete)'
`,
};

export function completionCommand(): Command {
  const completion = new Command('completion')
    .addArgument(new Argument('<shell>', 'yours').choices(Object.keys(scripts)))
    .description('what a shell needs to complete commands and options')
    .addHelpText(
      'after',
      '\nbash: source <(npx spendlock completion bash), in ~/.bashrc for good; zsh and fish alike.',
    );
  return example(completion, 'completion bash > ~/.local/share/bash-completion/completions/spendlock').action(
    (shell: keyof typeof scripts) => {
      let root: Command = completion;
      while (root.parent) root = root.parent;
      process.stdout.write(scripts[shell](placesOf(root)));
    },
  );
}
