"""``bennu doctor``: what this host lacks, why it matters, and the command that installs it."""

from __future__ import annotations

from bennu.cli.command import FORMAT, Arguments, Command
from bennu.cli.context import Context

COMMAND = Command(
    "doctor",
    "Say what this host lacks and the command that installs it",
    arguments=(FORMAT,),
    description="The exit status is 1 if something is missing that bennu cannot work without.",
    examples=(
        ("bennu doctor", "Look at everything"),
        ("bennu doctor --format '{{.Name}} {{.Verdict}}'", "One line a finding"),
    ),
)

_MARKS = {"ok": "ok", "weak": "weak", "missing": "MISSING"}


def run(args: Arguments, context: Context) -> int:
    """Print every finding; 1 if one is missing."""
    from bennu.cli.output import listing
    from bennu.cli.requirements import judge
    from bennu.host.survey import observe

    findings = judge(observe(context.settings.root, context.environ.get("PATH", "")))
    if args.format and args.format != "table":
        records = [
            {"Name": each.name, "Verdict": each.verdict, "Found": each.found, "Why": each.why, "Mend": each.mend}
            for each in findings
        ]
        context.stdout.write(listing(records, (), form=args.format))
    else:
        wide = max(len(each.name) for each in findings)
        for each in findings:
            context.print(f"{_MARKS[each.verdict]:<7}  {each.name:<{wide}}  {each.found}")
            if each.verdict != "ok":
                context.print(f"{'':7}  {'':{wide}}  {each.why}")
                if each.mend:
                    context.print(f"{'':7}  {'':{wide}}  -> {each.mend}")
    missing = sum(each.verdict == "missing" for each in findings)
    weak = sum(each.verdict == "weak" for each in findings)
    context.say(f"{missing} missing, {weak} weak, {len(findings) - missing - weak} ok")
    return 1 if missing else 0
