"""`npmmirror serve`."""

import hashlib
import secrets
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from npmmirror.config import Config


def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="HOST:PORT", help="Where to answer; else server.listen."),
    ] = None,
    make_token: Annotated[
        bool,
        typer.Option(
            "--make-token", help="Print a new token and its line for server.tokens, and end."
        ),
    ] = False,
) -> None:
    """Serve what is stored as a registry for npm clients.

    It needs no running daemon and holds no lock: as many processes as you like may serve one
    mirror, on one address or on several. Nothing is fetched and nothing is written.

    Example: npmmirror serve --listen 127.0.0.1:4874
    """
    if make_token:
        _print_token()
        return
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli import logs  # noqa: PLC0415 - as above
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above
    from npmmirror.daemon.serving import serve as serve_mirror  # noqa: PLC0415 - as above
    from npmmirror.memory import bound  # noqa: PLC0415 - as above

    bound()
    config = _with_address(load(context.obj.config_file).config, listen)
    logs.configure(config.log, verbose=context.obj.verbose, daemon=True)
    try:
        uvloop.run(serve_mirror(config))
    finally:
        logs.finish()


def _with_address(config: "Config", listen: str | None) -> "Config":
    """The configuration with another address.

    Raises:
        UsageError: it is none, or there is none.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - as in `serve`

    from npmmirror.config import ServerSection  # noqa: PLC0415 - as in `serve`
    from npmmirror.errors import UsageError  # noqa: PLC0415 - as in `serve`

    if listen is not None:
        try:
            section = ServerSection.model_validate(config.server.model_dump() | {"listen": listen})
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"--listen {listen!r} {told}") from error
        config = config.model_copy(update={"server": section})
    if not config.server.listen:
        raise UsageError("server.listen is empty: say with --listen where to answer")
    return config


def _print_token() -> None:
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    typer.echo(f"token, for clients:          {token}")
    typer.echo(f'its digest, for mirror.toml: tokens = ["sha256:{digest}"]')
