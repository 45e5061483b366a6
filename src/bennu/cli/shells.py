"""Completion scripts for bash, zsh and fish, generated from the verbs' records. Pure.

Each script holds the verbs and flags as data; what changes while the shell lives (images, containers, services,
volumes) is asked of ``bennu`` itself by the commands in ``QUERIES``, and their errors are thrown away. The scripts
share one plan: find the verb among the words, then offer its flags after a dash, the kind of value that a flag takes
after that flag, and the kind of the operand otherwise.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from bennu.cli.command import GLOBAL, PROJECT, Arg, Command

Verbs = Sequence[tuple[tuple[str, ...], Command]]

QUERIES = {
    "image": "bennu images --format '{{.Repository}}:{{.Tag}}'",
    "container": "bennu ps --all --format '{{.Names}}'",
    "service": "bennu config --services",
    "volume": "bennu volume ls --quiet",
}
"""What prints the names of a kind, one a line."""


def bash(verbs: Verbs) -> str:
    """A script for bash-completion's directory, or to be sourced."""
    lines = ["# bash completion for bennu", "", "_bennu_names() {", '    case "$1" in']
    for kind, query in _queries(verbs).items():
        lines.append(f"        {kind}) {query} 2>/dev/null ;;")
    lines += [
        "    esac",
        "}",
        "",
        "# Sets words and kind for the verb $1 and the flag $2 (empty: its operands).",
        "_bennu_verb() {",
    ]
    lines += ["    flags='' kind=none choices=''", '    case "$1" in']
    for names, command in _named(verbs):
        patterns = "|".join(shlex.quote(name) for name in names)
        lines += [f"        {patterns})", f"            flags={shlex.quote(' '.join(_flags(command)))}"]
        lines += ['            case "$2" in']
        for each in _valued(command):
            lines.append(f"                {'|'.join(each.flags)}) {_bash_kind(each)} ;;")
        place = next(iter(command.operands), None)
        lines.append(f"                '') {_bash_kind(place) if place else ':'} ;;")
        lines += ["                *) kind=switch ;;", "            esac ;;"]
    lines += ["    esac", "}", ""]
    firsts, seconds = _first_words(verbs), _second_words(verbs)
    lines += [f"_bennu_first={shlex.quote(' '.join(firsts))}", "_bennu_second() {", '    case "$1" in']
    lines += [f"        {word}) echo {shlex.quote(' '.join(members))} ;;" for word, members in seconds.items()]
    lines += ["    esac", "}", "", _BASH_BODY]
    return "\n".join(lines)


_BASH_BODY = r"""_bennu() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev='' verb='' word flags kind choices at=1
    COMPREPLY=()
    while ((at < COMP_CWORD)); do
        word=${COMP_WORDS[at]}
        case "$word" in
            --root | -f | --file | -p | --project-name) [[ $verb ]] || ((at++)) ;;
            -*) ;;
            *)
                if [[ -z $verb ]]; then
                    verb=$word
                    if [[ -n $(_bennu_second "$verb") ]] && ((at + 1 < COMP_CWORD)); then
                        ((at++))
                        verb="$verb ${COMP_WORDS[at]}"
                    fi
                fi ;;
        esac
        ((at++))
    done
    if [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W "$_bennu_first --help --version --root --file --project-name" -- "$cur"))
        return
    fi
    if [[ $verb != *' '* && -n $(_bennu_second "$verb") ]]; then
        COMPREPLY=($(compgen -W "$(_bennu_second "$verb")" -- "$cur"))
        [[ ${#COMPREPLY[@]} -gt 0 ]] && return
    fi
    prev=${COMP_WORDS[COMP_CWORD - 1]}
    [[ $prev == -* ]] || prev=''
    _bennu_verb "$verb" "$prev"
    [[ $kind == switch ]] && _bennu_verb "$verb" ''
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
        return
    fi
    case "$kind" in
        choices) COMPREPLY=($(compgen -W "$choices" -- "$cur")) ;;
        file) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
        directory) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        command) COMPREPLY=($(compgen -c -- "$cur")) ;;
        none) ;;
        *)
            COMPREPLY=($(compgen -W "$(_bennu_names "$kind")" -- "$cur"))
            # A colon ends a word for readline: what stands before it must not be offered again.
            if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
                COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
            fi ;;
    esac
}
complete -F _bennu bennu
"""


def zsh(verbs: Verbs) -> str:
    """A function file ``_bennu`` for a directory in ``fpath``."""
    lines = ["#compdef bennu", "", "_bennu_names() {", "    local -a names", '    case "$1" in']
    for kind, query in _queries(verbs).items():
        lines.append(f'        {kind}) names=(${{(f)"$({query} 2>/dev/null)"}}) ;;')
    lines += ["    esac", "    compadd -a names", "}", "", "_bennu_verbs() {", "    local -a verbs", "    verbs=("]
    summaries = {word: command.summary for names, command in _named(verbs) for word in names if " " not in word}
    for word in _first_words(verbs):
        lines.append(f"        {shlex.quote(word + ':' + summaries.get(word, f'Commands of {word}'))}")
    lines += [
        "    )",
        "    _describe command verbs",
        "}",
        "",
        "_bennu_second() {",
        "    local -a verbs",
        '    case "$1" in',
    ]
    for word, members in _second_words(verbs).items():
        lines.append(f"        {word}) verbs=({' '.join(map(shlex.quote, members))}) ;;")
    lines += [
        "    esac",
        "    compadd -a verbs",
        "}",
        "",
        "_bennu() {",
        "    local curcontext=$curcontext state line verb",
    ]
    lines += ["    typeset -A opt_args", "    _arguments -C \\"]
    lines += [f"        {spec} \\" for each in (*GLOBAL, *PROJECT) for spec in _zsh_flag(each)]
    lines += ["        '--help[Show help]' '--version[Show the version]' '1: :_bennu_verbs' '*:: :->rest'"]
    lines += ["    [[ $state == rest ]] || return", "    verb=$line[1]", '    case "$verb" in']
    for word in _second_words(verbs):
        lines += [f"        {word})", "            if ((CURRENT == 2)); then"]
        lines += ['                _bennu_second "$verb"', "                return", "            fi"]
        lines += ['            verb="$verb $words[2]"', "            shift words", "            ((CURRENT--)) ;;"]
    lines += ["    esac", '    case "$verb" in']
    for names, command in _named(verbs):
        specs = [spec for each in _all_options(command) for spec in _zsh_flag(each)]
        specs += [_zsh_operand(each, number) for number, each in enumerate(command.operands, 1)]
        patterns = "|".join(shlex.quote(name) for name in names)
        stop = "-A '-*' " if any(each.remainder for each in command.operands) else ""
        lines.append(f"        {patterns})")
        lines.append(
            f"            _arguments -s {stop}"
            + " \\\n                ".join(["", *specs, "'--help[Show help]'"])
            + " ;;"
        )
    lines += ["    esac", "}", "", '_bennu "$@"', ""]
    return "\n".join(lines)


def fish(verbs: Verbs) -> str:
    """A file for fish's completions directory."""
    lines = ["# fish completion for bennu", "complete -c bennu -f", ""]
    lines += ["function __bennu_is", "    set -l words (commandline -opc)", "    set -e words[1]", "    set -l plain"]
    lines += ["    for word in $words", "        string match -q -- '-*' $word; or set -a plain $word", "    end"]
    lines += ["    set -l wanted (string split ' ' -- $argv[1])", "    for at in (seq (count $wanted))"]
    lines += ['        test "$plain[$at]" = "$wanted[$at]"; or return 1', "    end", "    return 0", "end", ""]
    lines += [
        "function __bennu_first",
        "    set -l words (commandline -opc)",
        "    set -e words[1]",
        "    for word in $words",
    ]
    lines += ["        string match -q -- '-*' $word; or return 1", "    end", "    return 0", "end", ""]
    summaries = {word: command.summary for names, command in _named(verbs) for word in names if " " not in word}
    for word in _first_words(verbs):
        text = summaries.get(word, f"Commands of {word}")
        lines.append(f"complete -c bennu -n __bennu_first -a {shlex.quote(word)} -d {_fish(text)}")
    for word, members in _second_words(verbs).items():
        inside = " ".join(members)
        unless = f"__bennu_is {word}; and not __fish_seen_subcommand_from {inside}"
        lines.append(f"complete -c bennu -n {_fish(unless)} -a {_fish(inside)}")
    for names, command in _named(verbs):
        for name in names:
            lines += _fish_verb(name, command)
    return "\n".join([*lines, ""])


def _fish_verb(name: str, command: Command) -> list[str]:
    condition = _fish(f"__bennu_is {_fish(name)}")
    lines = []
    for each in _all_options(command):
        words = [f"complete -c bennu -n {condition}"]
        words += [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in each.flags]
        words += [f"-d {_fish(each.help)}", *([] if each.is_switch else _fish_value(each))]
        lines.append(" ".join(word for word in words if word))
    place = next(iter(command.operands), None)
    if place is not None and (values := _fish_values(place)):
        lines.append(f"complete -c bennu -n {condition} {values}")
    return lines


def _fish_value(argument: Arg) -> list[str]:
    """A flag's value: ``-x`` where files are not offered."""
    values = _fish_values(argument)
    return ["-r" if argument.complete == "file" and not argument.choices else "-x", values]


def _fish_values(argument: Arg) -> str:
    if argument.choices:
        return f"-a {_fish(' '.join(argument.choices))}"
    if argument.complete in QUERIES:
        return f"-a {_fish(f'({QUERIES[argument.complete]} 2>/dev/null)')}"
    if argument.complete == "directory":
        return "-a '(__fish_complete_directories)'"
    return "-F" if argument.complete == "file" else ""


def _fish(text: str) -> str:
    """Quoted for fish, where a backslash quotes inside single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _bash_kind(argument: Arg) -> str:
    if argument.choices:
        return f"kind=choices choices={shlex.quote(' '.join(argument.choices))}"
    return f"kind={argument.complete}"


def _zsh_flag(argument: Arg) -> list[str]:
    text = argument.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    often = "*" if argument.repeatable else ""
    value = "" if argument.is_switch else f":{argument.metavar}:{_zsh_action(argument)}"
    joined = [flag + ("" if argument.is_switch else "=" if flag.startswith("--") else "+") for flag in argument.flags]
    return [shlex.quote(f"{often}{flag}[{text}]{value}") for flag in joined]


def _zsh_operand(argument: Arg, number: int) -> str:
    if argument.remainder:
        return "'*::arguments:_normal'"
    place = "*" if argument.repeatable else str(number)
    return shlex.quote(f"{place}:{argument.metavar}:{_zsh_action(argument)}")


def _zsh_action(argument: Arg) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    actions = {"file": "_files", "directory": "_files -/", "command": "_command_names", "none": " "}
    return actions.get(argument.complete, f" _bennu_names {argument.complete}")


def _queries(verbs: Verbs) -> dict[str, str]:
    used = {each.complete for _, command in verbs for each in command.arguments}
    return {kind: query for kind, query in QUERIES.items() if kind in used}


def _named(verbs: Verbs) -> list[tuple[tuple[str, ...], Command]]:
    """Each verb with its names, those of three words left out: each has one of two, which is what is offered."""
    shown = [(command, [command.name, *aliases]) for aliases, command in verbs if not command.hidden]
    return [(tuple(name for name in names if name.count(" ") < 2), command) for command, names in shown]


def _first_words(verbs: Verbs) -> list[str]:
    return sorted({name.split(" ")[0] for names, _ in _named(verbs) for name in names})


def _second_words(verbs: Verbs) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for names, _ in _named(verbs):
        for first, _, second in (name.partition(" ") for name in names):
            if second:
                members.setdefault(first, []).append(second)
    return members


def _all_options(command: Command) -> list[Arg]:
    taken = {each.dest for each in command.arguments}
    return [
        *(each for each in command.options if not each.hidden),
        *(each for each in GLOBAL if each.dest not in taken),
    ]


def _flags(command: Command) -> list[str]:
    return [*(flag for each in _all_options(command) for flag in each.flags), "--help"]


def _valued(command: Command) -> list[Arg]:
    return [each for each in _all_options(command) if not each.is_switch]
