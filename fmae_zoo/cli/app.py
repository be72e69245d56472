"""`fmae app`."""

from pathlib import Path
from typing import Any

import click

from fmae_zoo.app import HOST, PORT
from fmae_zoo.cli.output import UserPath, emit_json, hub_options, note


@click.command("app")
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    help="0.0.0.0 lets others in, who can then train and read files here.",
)
@click.option("--port", type=click.IntRange(1, 65_535), help=f"[the first free one from {PORT}]")
@click.option("--browser", is_flag=True, help="Open the page in a browser.")
@click.option("--space", metavar="NAMESPACE/NAME", help="Write a Space with this page instead.")
@click.option(
    "--output",
    "-o",
    type=UserPath(file_okay=False, path_type=Path),
    help="With --space: folder of its files.  [NAME]",
)
@click.option("--install", help="With --space: what pip installs there.  [this fmae_zoo]")
@click.option("--push", is_flag=True, help="With --space: publish it on the Hub.")
@click.option("--private", is_flag=True, help="With --push: make a new Space private.")
@hub_options
def app_command(
    host: str,
    port: int | None,
    browser: bool,
    space: str | None,
    output: Path | None,
    install: str | None,
    push: bool,
    private: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve a page to look at, compare and train models, on this machine until Ctrl-C.

    With --space write, and with --push publish, a Space of the Hugging Face Hub with the same page.

    \b
    Example: fmae app --port 8000
             fmae app --space me/fmae-zoo --push
    """
    if space is None:
        if output or install or push or private:
            raise click.UsageError("--output, --install, --push and --private need --space.")
        from fmae_zoo.app import launch

        launch(host, port, open_browser=browser)
        return
    if private and not push:
        raise click.UsageError("--private needs --push.")
    from fmae_zoo.app.space import push_space, space_files, write_space

    contents = space_files(space, install)
    folder = write_space(output or Path(space.partition("/")[2]), contents)
    facts: dict[str, Any] = {"folder": str(folder), "files": sorted(contents)}
    if push:
        facts["url"] = push_space(space, contents, private=private or None, **options)
    if as_json:
        emit_json(facts)
        return
    click.echo(facts.get("url", folder))
    if push:
        note(f"Its files are in {folder} too.")
    else:
        note("Nothing was sent; --push publishes it. It installs fmae-zoo from PyPI, or --install.")
