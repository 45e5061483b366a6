"""``bennu login``: who we are at a registry, kept where Docker keeps it."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand, option, switch
from bennu.cli.context import Context

COMMAND = Command(
    "login",
    "Log in to a registry",
    (
        operand("SERVER", help="The registry's host; Docker Hub unless given", required=False),
        option("-u", "--username", metavar="NAME", help="The user"),
        option("-p", "--password", metavar="PASSWORD", help="Anybody here can see it: --password-stdin is safer"),
        switch("--password-stdin", help="Read the password from standard input"),
    ),
    description=(
        "The registry is asked whether it takes the password before it is kept: in a credential helper where Docker's "
        "config.json names one (credsStore, credHelpers), else in config.json, readable by you alone."
    ),
    examples=(("pass show registry | bennu login -u deploy --password-stdin registry.example", "in a script"),),
    reads_stdin="the password, with --password-stdin",
)  # fmt: skip


def run(args: Arguments, context: Context) -> int:
    """Ask what is missing, try it, keep it."""
    from bennu.errors import Usage
    from bennu.registry.credentials import Credential
    from bennu.registry.registries import Registries

    domain = server(args.server)
    if args.password is not None and args.password_stdin:
        raise Usage("--password and --password-stdin contradict each other")
    if args.password_stdin and not args.username:
        raise Usage("--password-stdin needs --username")
    if args.password is not None:
        context.say("warning: a password on the command line can be seen by others: use --password-stdin")
    username = args.username or _asked(context, "Username: ", secret=False)
    if args.password_stdin:
        password = context.stdin.read().rstrip("\r\n")
    else:
        password = args.password if args.password is not None else _asked(context, "Password: ", secret=True)
    if not password:
        raise Usage("the password is empty")
    credential = Credential(username, password)
    with Registries.of(context.settings, context.say) as registries:
        endpoint = registries.hosts.endpoints(domain, writing=True)[-1]
        transport = registries.transport(endpoint, lambda: credential)
        try:
            with transport.request("GET", "/v2/", wanted=(200,)):
                pass
        finally:
            transport.close()
        where = registries.credentials.put(domain, credential)
    context.say(f"Login Succeeded: {username} at {domain}, kept in {where}")
    return 0


def server(text: str | None) -> str:
    """The registry that a person names: a host, perhaps as an address."""
    from bennu.oci.reference import parse_reference
    from bennu.registry.hosts import HUB_DOMAIN

    if not text:
        return HUB_DOMAIN
    bare = (text.partition("://")[2] or text).strip("/").partition("/")[0]
    if bare in {"index.docker.io", "registry-1.docker.io", "docker.io"}:
        return HUB_DOMAIN
    domain = bare if "." in bare or ":" in bare or bare == "localhost" else f"{bare}:443"
    return parse_reference(f"{domain}/x").domain


def _asked(context: Context, prompt: str, *, secret: bool) -> str:
    from bennu.errors import Usage

    if not context.is_terminal:
        raise Usage("there is no terminal to ask at", "give --username and --password-stdin")
    if secret:
        from getpass import getpass

        return getpass(prompt, stream=context.stderr)
    context.stderr.write(prompt)
    context.stderr.flush()
    return context.stdin.readline().strip()
