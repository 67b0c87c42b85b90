"""The command line: one file per verb, each of which parses, calls the library and prints.

Results go to stdout, progress and errors to stderr. Importing this package imports nothing heavy; the verbs import
what they need when they run. Exit codes: 0 done, 1 done in part, 2 an error, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import (
    add,
    analyze,
    ask,
    collection,
    compare,
    demo,
    doctor,
    dynamic,
    encode,
    evaluate,
    exchange,
    models,
    report,
    serve,
    study,
)
from .outcome import ReportingGroup
from .quiet import silence

app = typer.Typer(
    name="paramrag",
    cls=ReportingGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"paramrag {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="PARAMRAG_DEBUG", help="Show the traceback of an error, and warnings.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Answer questions from your documents, each of them a small adapter of the language model.

    \b
    Start with:
      paramrag demo
    then, with your own documents:
      paramrag add DIR PATH...
      paramrag encode DIR
      paramrag ask DIR "question"
    """
    silence(debug)


app.command("demo")(demo.run)
app.command("add")(add.run)
app.command("encode")(encode.run)
app.command("ask")(ask.run)
app.command("serve")(serve.run)
app.command("eval")(evaluate.run)
app.command("compare")(compare.run)
app.command("report")(report.run)
app.command("study")(study.run)
app.add_typer(analyze.app, name="analyze")
app.add_typer(dynamic.app, name="dynamic")
app.add_typer(collection.app, name="collection")
app.command("export")(exchange.export)
app.command("import")(exchange.import_)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.run)


def main() -> None:
    """Runs the command line on the arguments of the process and exits."""
    sys.exit(app(prog_name="paramrag"))
