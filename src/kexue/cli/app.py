"""Commands and their options; the work itself is imported when a command runs."""

import typer

app = typer.Typer(name="kexue", no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """Learn structure from data without labels."""


def main() -> None:
    """Run the command line."""
    app()
