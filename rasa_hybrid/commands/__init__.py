"""`rasa-hybrid`: what Rasa has no command for. Each subcommand imports what it needs when it is called."""

from __future__ import annotations

import click

from rasa_hybrid.commands import feedback, learning, ratings, simulation, tracking
from rasa_hybrid.commands.processor import name_kernels


@click.group(context_settings={"show_default": True})
@click.version_option(package_name="rasa-hybrid")
def main() -> None:
    """Rasa bots whose understanding, state tracking and policy are one model."""
    name_kernels()


for _command in (
    *(simulation.simulate, simulation.evaluate, tracking.track),
    *(learning.teach, learning.reinforce, learning.reproduce),
    *(feedback.collect, feedback.learn, feedback.rollback, feedback.serve_models),
    *(feedback.report, feedback.forget, ratings.serve_ratings, ratings.ratings),
):
    main.add_command(_command)
