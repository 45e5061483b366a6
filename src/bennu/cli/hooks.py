"""``bennu hooks``: the hooks of a project, a test of them, and what they are still owed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bennu.cli.command import PROJECT, Arguments, Command, option, switch
from bennu.cli.context import Context
from bennu.cli.fleet import project_name
from bennu.cli.human import ago, duration
from bennu.cli.output import Column, listing

if TYPE_CHECKING:
    from bennu.compose.extension import HookEvent
    from bennu.deploy.policy import Policy
    from bennu.wiring import Fleet

EVENTS: tuple[HookEvent, ...] = (
    "pre_build", "post_validate", "pre_switch", "post_switch", "failed", "rolled_back", "hold_expiring", "drift_found",
)  # fmt: skip

COMMAND = Command(
    "hooks",
    "Show what is told to whom, and what could not be",
    (
        *PROJECT,
        option("--send", metavar="EVENT", help="Call the hooks of this event now, as a test", choices=EVENTS),
        switch("--owed", help="What could not be told, and when the agent tries again"),
        switch("--forget", help="Forget what could not be told"),
        option("--format", metavar="FORMAT", help="json, table, or a template such as '{{.Event}}'"),
    ),
    description=(
        "The hooks are those of the Compose file that was applied last. A test says so in its event: detail has "
        '"test": true. With --owed it exits with 1 if anything is owed.'
    ),
    examples=(
        ("bennu hooks", "what is called, and when"),
        ("bennu hooks --send failed", "see whether anybody would hear of it"),
    ),
)  # fmt: skip

HOOKS = (Column("EVENT", "Event"), Column("HOOK", "Hook"), Column("BLOCKS", "Blocks"), Column("TIMEOUT", "Timeout"))
OWED = (
    Column("EVENT", "Event"), Column("HOOK", "Hook"), Column("SINCE", "Since"), Column("AGAIN", "Again"),
    Column("PROBLEM", "Problem"),
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """List, test, or forget."""
    from bennu.deploy.policy import NO_POLICY
    from bennu.wiring import Fleet

    name = project_name(args, context)
    with Fleet(context.settings) as fleet:
        policy = fleet.history.policy(name) or NO_POLICY
        if args.forget:
            context.say(f"Project {name}: {fleet.outbox.forget(name)} forgotten.")
            return 0
        if args.send is not None:
            return _send(name, args.send, policy, fleet, context)
        if args.owed:
            return _owed(name, args, fleet, context)
    records = [
        {
            "Event": event,
            "Hook": _described(hook),
            "Blocks": "yes" if hook.blocking else "no",
            "Timeout": duration(hook.timeout_seconds),
        }
        for event, hooks in policy.hooks.by_event.items()
        for hook in hooks
    ]
    context.stdout.write(listing(records, HOOKS, form=args.format))
    return 0


def _described(hook: object) -> str:
    from bennu.compose.extension import Hook
    from bennu.deploy.telling.hooks import described

    assert isinstance(hook, Hook)
    return described(hook)


def _owed(project: str, args: Arguments, fleet: Fleet, context: Context) -> int:
    now = time.time()
    calls = fleet.outbox.calls(project)
    records = [
        {
            "Event": call.event.event,
            "Hook": _described(call.hook),
            "Since": ago(call.created, now),
            "Again": "never" if call.due is None else f"in {duration(max(0.0, call.due - now))}",
            "Problem": call.problem or "",
        }
        for call in calls
    ]
    context.stdout.write(listing(records, OWED, form=args.format))
    return 1 if calls else 0


def _send(project: str, event: HookEvent, policy: Policy, fleet: Fleet, context: Context) -> int:
    """Call each hook once; 1 if any of them fails."""
    import threading

    from bennu.deploy.telling.calls import attempt
    from bennu.deploy.telling.news import sample
    from bennu.errors import BennuError, Failed

    hooks = policy.hooks.of(event)
    if not hooks:
        context.say(f"Project {project} has no hook of {event}.")
    failed = 0
    made = sample(project, event, policy, time.time())
    for hook in hooks:
        try:
            attempt(hook, made, policy.directory, fleet.hook_environ(), threading.Event())
        except BennuError as error:
            failed += 1
            context.print(f"{event}: FAILED: {error.message}")
            for line in error.tail if isinstance(error, Failed) else ():
                context.print(f"  | {line}")
        else:
            context.print(f"{event}: {_described(hook)}: well")
    return 1 if failed else 0
