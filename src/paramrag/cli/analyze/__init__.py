"""`paramrag analyze`: what an injected document does to the model, one verb per question asked of it."""

from __future__ import annotations

import typer

from . import adapters, attention, everything, intervention, knowledge

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See what an injected document does to the model.")
app.command("all")(everything.everything)
app.command("pks")(knowledge.pks)
app.command("similarity")(adapters.similarity)
app.command("collapse")(adapters.collapse)
app.command("layers")(intervention.layers)
app.command("attention")(attention.attention)
app.command("override")(intervention.override)
