"""`fmae push`, `fmae pull`, `fmae search`, `fmae publish`."""

from dataclasses import asdict
from typing import Any

import click

from fmae_zoo.cli.output import (
    MODEL,
    UserPath,
    emit_json,
    emit_table,
    hub_options,
    note,
    steps_shown,
)


@click.command("push")
@click.argument("source", type=MODEL)
@click.argument("repo")
@click.option("--private", is_flag=True, help="Make the repo private; refuse one that is public.")
@click.option("--tag", help="Put on the commit; a tag is never moved.")
@click.option("--branch", help="Commit to it; made from main where it is missing. [main]")
@click.option("--create-pr", is_flag=True, help="Open a pull request in place of committing.")
@click.option("--message", "-m", help="Of the commit.")
@click.option("--dry-run", is_flag=True, help="Check all, list files and card, send nothing.")
@hub_options
def push_command(
    source: str, repo: str, private: bool, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Publish a model, or local:FOLDER, to the Hugging Face Hub.

    \b
    Example: fmae push local:my-model me/conv-ae-bn-mine --private --tag v1
    """
    import fmae_zoo

    push = fmae_zoo.push
    with steps_shown(f"checking {source}" if dry_run else f"checking and sending {source}"):
        pushed = push(source, repo, private=private or None, dry_run=dry_run, **options)
    if as_json:
        emit_json(_about(pushed) | ({"card": pushed.card} if dry_run else {}))
        return
    if dry_run:
        emit_table(("file", "bytes"), list(pushed.sizes.items()), title=f"would go to {repo}")
        click.echo(pushed.card)
        note("Nothing was sent.")
        return
    click.echo(pushed)
    done = "is commit" if pushed.changed else "held the same already, at commit"
    note(f"{repo} {done} {pushed.commit}")


@click.command("pull")
@click.argument("name")
@click.option(
    "--output", "-o", type=UserPath(file_okay=False), help="Folder for a copy of one's own."
)
@hub_options
def pull_command(name: str, output: str | None, as_json: bool, **options: Any) -> None:
    """Fetch and verify a model, or hf://NAMESPACE/NAME[@REVISION].

    Without --output it goes into the cache, from where it loads without a network.

    \b
    Example: fmae pull hf://me/conv-ae-bn-mine@v1 -o my-model
    """
    import fmae_zoo

    with steps_shown(f"fetching {name}"):
        folder = fmae_zoo.pull(name, output, **options)
    if as_json:
        emit_json({"name": name, "folder": str(folder)})
    else:
        click.echo(folder)


@click.command("search")
@click.argument("text", required=False)
@click.option("--author", help="User or organisation.")
@click.option("--tag", multiple=True, help="Only models with this tag; may be given again.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@hub_options
def search_command(text: str | None, as_json: bool, **options: Any) -> None:
    """Find the zoo's models on the Hugging Face Hub.

    \b
    Example: fmae search conv --author me --tag variational
    """
    import fmae_zoo

    found = fmae_zoo.search(text, **options)
    if as_json:
        emit_json([asdict(model) for model in found])
    elif not found:
        note("no model of the zoo on the Hub matches")
    else:
        emit_table(
            ("model", "private", "downloads", "likes", "updated"),
            [(m.source, m.private, m.downloads, m.likes, m.updated) for m in found],
        )


@click.command("publish")
@click.argument("names", nargs=-1)
@click.option("--org", required=True, help="User or organisation that the repos belong to.")
@click.option("--private", is_flag=True, help="Make the repos private; refuse public ones.")
@hub_options
def publish_command(names: tuple[str, ...], private: bool, as_json: bool, **options: Any) -> None:
    """Push registry entries to the Hub, and pin their commits in their manifests.

    Without names, push all entries that have weights.

    \b
    Example: fmae publish conv-ae-bn dense-ae --org fmae-zoo
    """
    import fmae_zoo

    publish = fmae_zoo.publish
    from fmae_zoo.registry import list_models

    names = names or tuple(list_models(pretrained=True))
    published = {}
    with steps_shown("publishing") as bar:

        def done(name: str, pushed: Any) -> None:
            published[name] = _about(pushed)
            note(f"{name}: {pushed} at commit {pushed.commit}")
            bar(len(published), len(names))

        publish(names, private=private or None, done=done, **options)
    if as_json:
        emit_json(published)


def _about(pushed: Any) -> dict[str, Any]:
    return {
        "url": str(pushed),
        "repo": pushed.repo,
        "commit": pushed.commit,
        "changed": pushed.changed,
        "bytes": pushed.sizes,
    }
