"""How each instruction reads its arguments: from a ``Statement`` to the struct in ``instructions``.

One reader per instruction, in ``READERS``. What BuildKit refuses when it reads a file is refused here, at the word
that is wrong; what depends on variables, on the base image or on the host is not looked at. Flags are in ``flags``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bennu.dockerfile import flags, mounts, numbers, spelling
from bennu.dockerfile.expansion import ExpansionError, expand_word
from bennu.dockerfile.heredoc import parse_opening
from bennu.dockerfile.instructions import (
    Add,
    Arg,
    ArgDeclaration,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    ExecForm,
    Expose,
    Form,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    MountFlag,
    Onbuild,
    Pair,
    Run,
    Shell,
    ShellForm,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bennu.dockerfile.source import decoded
from bennu.dockerfile.statement import Statement
from bennu.dockerfile.words import SPACE, Word, blank_words, quoted_words
from bennu.errors import Invalid

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_KEPT_AS_WRITTEN: Final = frozenset({"CMD", "ENTRYPOINT", "HEALTHCHECK"})
"""Their texts are in the history as they are, byte by byte."""
_MILLISECOND: Final = 1_000_000


def read(statement: Statement) -> Instruction:
    """The instruction that a statement spells. Raises ``Invalid`` at the word that is wrong."""
    if statement.name == "RUN":
        statement.refuse_undecoded()  # as BuildKit does, where the step would be told
    elif statement.name not in _KEPT_AS_WRITTEN:
        statement.replace_undecoded()
    reader = READERS.get(statement.name)
    if reader is None:
        written = statement.keyword.text
        raise statement.span_of(statement.keyword).invalid(
            f"unknown instruction '{written}'",
            spelling.hint(written, READERS, f"the instructions are {', '.join(READERS)}"),
        )
    return reader(statement, flags.read(statement))


def _shared(statement: Statement) -> dict[str, Any]:
    """The fields that every instruction has."""
    return {
        "keyword": statement.keyword.text,
        "text": decoded(statement.text),
        "span": statement.span,
        "comments": statement.line.comments,
    }


def _at_least_one(statement: Statement, count: int) -> None:
    if count == 0:
        raise statement.fail("needs at least one argument", statement.rest)


def _string(statement: Statement) -> str:
    """The rest as one argument."""
    if not statement.rest.text:
        raise statement.fail("needs exactly one argument")
    return statement.rest.text


def _form(statement: Statement, rest: Word) -> Form:
    array = statement.json_of(rest)
    return ShellForm(text=rest.text) if array is None else ExecForm(arguments=tuple(map(decoded, array)))


def _words_or_json(statement: Statement) -> tuple[tuple[str, ...], tuple[Word, ...]]:
    """Blank-separated arguments or a JSON array, and where each stands (the array as a whole)."""
    array = statement.json()
    if array is None:
        words = blank_words(statement.rest)
        return tuple(word.text for word in words), words
    return array, (statement.rest,) * len(array)


def _pairs(statement: Statement) -> tuple[tuple[Pair, ...], bool]:
    """``key=value`` pairs, or one ``key value``; True for the latter."""
    words = quoted_words(statement.rest, statement.escape)
    _at_least_one(statement, len(words))
    if "=" not in words[0].text:
        parts = blank_words(statement.rest)
        if len(parts) == 1:
            raise statement.fail(
                f"'{words[0].text}' has no value", words[0], f"write {statement.name} {words[0].text}=VALUE"
            )
        value = statement.rest.text[parts[1].offset - statement.rest.offset :]
        return (Pair(key=parts[0].text, value=value),), True
    pairs: list[Pair] = []
    for word in words:
        key, equals, value = word.text.partition("=")
        if not equals:
            raise statement.fail(
                f"'{word.text}' is no name=value pair", word, "put quotes around a value that holds blanks"
            )
        if not key:
            raise statement.fail(f"'{word.text}' has no name before '='", word)
        pairs.append(Pair(key=key, value=value))
    return tuple(pairs), False


def _sources(statement: Statement) -> tuple[tuple[str, ...], str, tuple[Heredoc, ...]]:
    """Sources, destination and inline files of ADD and COPY."""
    arguments, words = _words_or_json(statement)
    if len(arguments) < 2:
        raise statement.fail(
            "needs a source and a destination", statement.rest, f"write {statement.name} SOURCE... DESTINATION"
        )
    documents = {heredoc.name: heredoc for heredoc in statement.heredocs}
    if statement.heredocs and _opening(statement, words[-1]) in documents:
        raise statement.fail("a heredoc cannot be the destination", words[-1], "write the destination behind it")
    paths: list[str] = []
    inline: list[Heredoc] = []
    for argument, word in zip(arguments[:-1], words[:-1], strict=True):
        heredoc = documents.get(_opening(statement, word) or "") if documents else None
        if heredoc is None:
            paths.append(argument)
        else:
            inline.append(heredoc)
    return tuple(paths), arguments[-1], tuple(inline)


def _opening(statement: Statement, word: Word) -> str | None:
    try:
        opening = parse_opening(word.text)
    except ExpansionError as error:
        raise statement.fail(f"heredoc name: {error}", word) from error
    return opening.name if opening else None


def _add(statement: Statement, given: flags.Flags) -> Add:
    sources, destination, heredocs = _sources(statement)
    return Add(
        **_shared(statement),
        sources=sources,
        destination=destination,
        heredocs=heredocs,
        chown=given.text("chown"),
        chmod=given.text("chmod"),
        link=given.truth("link") or False,
        exclude=given.texts("exclude"),
        checksum=given.text("checksum"),
        keep_git_dir=given.truth("keep-git-dir"),
        unpack=given.truth("unpack"),
    )


def _copy(statement: Statement, given: flags.Flags) -> Copy:
    origin = given.word("from")
    if origin is not None and _changes(origin.text, statement.escape):
        raise statement.fail(
            f"--from takes no variable, but is '{origin.text}'", origin, "name a stage whose FROM has the variable"
        )
    sources, destination, heredocs = _sources(statement)
    return Copy(
        **_shared(statement),
        sources=sources,
        destination=destination,
        heredocs=heredocs,
        from_=given.text("from"),
        chown=given.text("chown"),
        chmod=given.text("chmod"),
        link=given.truth("link") or False,
        parents=given.truth("parents") or False,
        exclude=given.texts("exclude"),
    )


def _changes(word: str, escape: str) -> bool:
    """Whether expansion would make another word of this one."""
    try:
        return expand_word(word, {}, escape) != word
    except ExpansionError:
        return True


def _arg(statement: Statement, _: flags.Flags) -> Arg:
    words = quoted_words(statement.rest, statement.escape)
    _at_least_one(statement, len(words))
    declarations: list[ArgDeclaration] = []
    for word in words:
        name, equals, default = word.text.partition("=")
        if not name:
            raise statement.fail(f"'{word.text}' has no name before '='", word)
        declarations.append(ArgDeclaration(name=name, default=default if equals else None))
    return Arg(**_shared(statement), declarations=tuple(declarations))


def _cmd(statement: Statement, _: flags.Flags) -> Cmd:
    return Cmd(**_shared(statement), command=_form(statement, statement.rest))


def _entrypoint(statement: Statement, _: flags.Flags) -> Entrypoint:
    return Entrypoint(**_shared(statement), command=_form(statement, statement.rest))


def _env(statement: Statement, _: flags.Flags) -> Env:
    pairs, legacy = _pairs(statement)
    return Env(**_shared(statement), pairs=pairs, legacy=legacy)


def _label(statement: Statement, _: flags.Flags) -> Label:
    pairs, legacy = _pairs(statement)
    return Label(**_shared(statement), pairs=pairs, legacy=legacy)


def _expose(statement: Statement, _: flags.Flags) -> Expose:
    words = blank_words(statement.rest)
    _at_least_one(statement, len(words))
    ports = sorted(word.text for word in words)  # BuildKit's order, which the history shows
    return Expose(**_shared(statement), ports=tuple(ports))


def _from(statement: Statement, given: flags.Flags) -> From:
    words = blank_words(statement.rest)
    alias = None
    if len(words) == 3 and words[1].text.lower() == "as":
        alias = words[2].text.lower()
        if not _STAGE_NAME.fullmatch(alias):
            raise statement.fail(
                f"'{words[2].text}' is no name for a stage",
                words[2],
                "begin with a letter and go on with letters, digits, '-', '_' and '.'",
            )
    elif len(words) != 1:
        wrong = words[1] if len(words) > 1 else statement.rest
        raise statement.fail("takes an image, or an image with AS and a name", wrong, "write FROM IMAGE AS NAME")
    return From(**_shared(statement), image=words[0].text, alias=alias, platform=given.text("platform"))


def _healthcheck(statement: Statement, given: flags.Flags) -> Healthcheck:
    words = blank_words(statement.rest)
    _at_least_one(statement, len(words))
    kind = words[0].text.upper()
    command: Form | None = None
    if kind == "CMD":
        at = words[1].offset if len(words) > 1 else statement.rest.offset + len(statement.rest.text)
        command = _form(statement, Word(statement.rest.text[at - statement.rest.offset :], at))
        if command in (ShellForm(""), ExecForm(())):
            raise statement.fail("no command behind CMD", words[0], "write HEALTHCHECK CMD COMMAND")
    elif kind != "NONE":
        known = spelling.hint(kind, ("CMD", "NONE"), "write CMD before the command, or NONE alone")
        raise statement.fail(f"unknown type '{words[0].text}'", words[0], known)
    elif len(words) > 1:
        raise statement.fail("NONE takes no arguments", words[1])
    if command is None:
        return Healthcheck(**_shared(statement), command=None)  # options mean nothing here, not even wrong ones
    return Healthcheck(
        **_shared(statement),
        command=command,
        interval_nanoseconds=_interval(statement, given, "interval"),
        timeout_nanoseconds=_interval(statement, given, "timeout"),
        start_period_nanoseconds=_interval(statement, given, "start-period"),
        start_interval_nanoseconds=_interval(statement, given, "start-interval"),
        retries=_retries(statement, given),
    )


def _interval(statement: Statement, given: flags.Flags, name: str) -> int:
    word = given.word(name)
    if word is None or word.text == "":
        return 0
    nanoseconds = numbers.duration_nanoseconds(word.text)
    if nanoseconds is None:
        hint = f"did you mean {word.text}s?" if word.text.isdecimal() else "write one such as 30s or 1m30s"
        raise statement.fail(f"--{name} is no duration but '{word.text}'", word, hint)
    if nanoseconds != 0 and nanoseconds < _MILLISECOND:
        raise statement.fail(f"--{name} is '{word.text}', less than 1ms", word)
    return nanoseconds


def _retries(statement: Statement, given: flags.Flags) -> int:
    word = given.word("retries")
    if word is None or word.text == "":
        return 0
    retries = numbers.unsigned(word.text.removeprefix("+"), bits=31)
    if retries is None:
        raise statement.fail(f"--retries is no number from 0 on but '{word.text}'", word)
    return retries


def _maintainer(statement: Statement, _: flags.Flags) -> Maintainer:
    return Maintainer(**_shared(statement), name=_string(statement))


def _onbuild(statement: Statement, _: flags.Flags) -> Onbuild:
    if not statement.rest.text:
        raise statement.fail("needs an instruction behind it")
    subject = statement.subject()
    if subject.name == "ONBUILD":
        raise statement.fail("cannot stand behind another ONBUILD", subject.keyword)
    if subject.name in ("FROM", "MAINTAINER"):
        raise statement.fail(f"{subject.name} is not allowed as a trigger", subject.keyword)
    documents = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    _refuse_unreadable(subject)
    try:
        trigger = read(subject)
    except Invalid:  # what it means is only looked at where it is done, as in BuildKit
        trigger = None
    return Onbuild(**_shared(statement), expression=subject.text + documents, trigger=trigger)


def _refuse_unreadable(subject: Statement) -> None:
    """What BuildKit refuses of a trigger that nobody does yet: arrays of other things, pairs that are none."""
    subject.json()
    words = quoted_words(subject.rest, subject.escape) if subject.name in ("ENV", "LABEL") else ()
    if words and any("=" not in word.text for word in words):
        is_pair = "=" not in words[0].text and len(blank_words(subject.rest)) > 1
        if not is_pair:
            _pairs(subject)


def _run(statement: Statement, given: flags.Flags) -> Run:
    mount_flags = tuple(
        MountFlag(text=word.text, span=statement.span_of(next(flag for flag in statement.flags if flag[1] == word[1])))
        for word in given.words("mount")
    )
    for flag in mount_flags:
        mounts.check(flag)
    return Run(
        **_shared(statement),
        command=_form(statement, statement.rest),
        heredocs=statement.heredocs,
        mounts=mount_flags,
        network=_choice(statement, given, "network", ("default", "none", "host")),
        security=_choice(statement, given, "security", ("sandbox", "insecure")),
        devices=given.texts("device"),
    )


def _choice(statement: Statement, given: flags.Flags, name: str, choices: tuple[str, ...]) -> str | None:
    word = given.word(name)
    if word is not None and word.text not in choices:
        known = f"it is one of {', '.join(choices)}"
        raise statement.fail(f"unknown --{name} '{word.text}'", word, spelling.hint(word.text, choices, known))
    return word.text if word else None


def _shell(statement: Statement, _: flags.Flags) -> Shell:
    array = statement.json()
    if array is None and statement.rest.text:
        raise statement.fail("takes a JSON array only", statement.rest, 'write SHELL ["/bin/sh", "-c"]')
    _at_least_one(statement, len(array or ()))
    return Shell(**_shared(statement), command=array or ())


def _stopsignal(statement: Statement, _: flags.Flags) -> StopSignal:
    return StopSignal(**_shared(statement), signal=_string(statement))


def _user(statement: Statement, _: flags.Flags) -> User:
    return User(**_shared(statement), user=_string(statement))


def _volume(statement: Statement, _: flags.Flags) -> Volume:
    paths, words = _words_or_json(statement)
    _at_least_one(statement, len(paths))
    for path, word in zip(paths, words, strict=True):
        if not path.strip(SPACE):
            raise statement.fail("a volume's path is empty", word)
    return Volume(**_shared(statement), paths=tuple(path.strip(SPACE) for path in paths))


def _workdir(statement: Statement, _: flags.Flags) -> Workdir:
    return Workdir(**_shared(statement), path=_string(statement))


READERS: Final[Mapping[str, Callable[[Statement, flags.Flags], Instruction]]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
