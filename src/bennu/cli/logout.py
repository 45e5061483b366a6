"""``bennu logout``: forget who we are at a registry."""

from __future__ import annotations

from bennu.cli.command import Arguments, Command, operand
from bennu.cli.context import Context

COMMAND = Command(
    "logout",
    "Log out from a registry",
    (operand("SERVER", help="The registry's host; Docker Hub unless given", required=False),),
    description="Takes the credential out of the credential helper or of Docker's config.json, wherever it is kept.",
)


def run(args: Arguments, context: Context) -> int:
    """Forget; not an error where nothing was known."""
    from bennu.cli.login import server
    from bennu.registry.credentials import Credentials

    domain = server(args.server)
    had = Credentials(context.settings.docker_config).remove(domain)
    context.say(f"Removed the credential for {domain}" if had else f"Not logged in to {domain}")
    return 0
