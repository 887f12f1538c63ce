"""Builds the knowledge base of the bot: a week of screenings in eight cinemas, all invented, the same for the same seed.

    python build_knowledge_base.py [--url sqlite:///db/screenings.db] [--seed 1]

Some titles are hard on purpose: "Aurora" is a film and half the name of a cinema, "The Last Friday" holds a day,
"Midnight Ferry" a time, "Three Wishes for Marl" a number, and "Return of the Quiet Machine" another title.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any, Dict, List

import sqlalchemy as sa

PROJECT = Path(__file__).resolve().parent
DEFAULT_PATH = PROJECT / "db" / "screenings.db"
DEFAULT_SEED = 1

MOVIES = (
    "A Lantern for Ada",
    "Aurora",
    "Copper Sky",
    "Dancing with Robots",
    "Ghosts of Willow Street",
    "Harbour Lights",
    "Midnight Ferry",
    "My Neighbour the Dragon",
    "Nine Lives of Felix",
    "Once Upon a Train",
    "Operation Nightjar",
    "Paper Kingdom",
    "Paper Moons",
    "Return of the Quiet Machine",
    "Riverside",
    "Salt and Thunder",
    "Starfall: First Contact",
    "Starfall: The Long Way Home",
    "The Beekeeper's Winter",
    "The Cartographer's Daughter",
    "The Glass Orchard",
    "The Grand Illusionist",
    "The Last Friday",
    "The Quiet Machine",
    "The Sunday Painter",
    "The Understudy",
    "Three Wishes for Marl",
    "Two Nights in Lisbon",
    "Velvet Underpass",
    "Winterbound",
)
#: Cinema to the price of an ordinary ticket.
THEATRES = {
    "Aurora Picture House": 9.0,
    "Harbour Cinema": 8.5,
    "Lantern House": 10.0,
    "Northgate Multiplex": 11.5,
    "Old Mill Theatre": 7.5,
    "Riverside Screens": 10.5,
    "The Grand": 13.0,
    "Union Square 9": 12.0,
}
DATES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: In the order of the day.
TIMES = (
    "10:30 am",
    "12:15 pm",
    "2:00 pm",
    "3:30 pm",
    "4:45 pm",
    "5:30 pm",
    "6:00 pm",
    "7:15 pm",
    "8:00 pm",
    "8:45 pm",
    "9:30 pm",
    "10:15 pm",
)
_FILMS_PER_THEATRE = 14
_MATINEES = TIMES[:4]
_WEEKEND = DATES[4:]

METADATA = sa.MetaData()
SCREENINGS = sa.Table(
    "screenings",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("movie", sa.Text, nullable=False, index=True),
    sa.Column("theatre_name", sa.Text, nullable=False),
    sa.Column("date", sa.Text, nullable=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("price", sa.Text, nullable=False),
    sa.Column("seats", sa.Integer, sa.CheckConstraint("seats >= 0"), nullable=False),
)
#: A conversation has at most one booking of a screening, so that repeating it books nothing twice.
BOOKINGS = sa.Table(
    "bookings",
    METADATA,
    sa.Column("conversation", sa.Text, primary_key=True),
    sa.Column("screening_id", sa.Integer, sa.ForeignKey(SCREENINGS.c.id), primary_key=True),
    sa.Column("tickets", sa.Integer, nullable=False),
)


def screenings(seed: int = DEFAULT_SEED) -> List[Dict[str, Any]]:
    """The rows of the table `screenings`, the earliest screening first."""
    chance = random.Random(seed)
    shows = []
    for theatre, ordinary_price in THEATRES.items():
        for movie in chance.sample(MOVIES, _FILMS_PER_THEATRE):
            for date in chance.sample(DATES, chance.randint(5, 7)):
                for time in chance.sample(TIMES, chance.randint(3, 5)):
                    price = ordinary_price - 2.0 * (time in _MATINEES) + 1.5 * (date in _WEEKEND)
                    shows.append((date, time, theatre, movie, price, _seats_left(chance)))
    shows.sort(key=lambda show: (DATES.index(show[0]), TIMES.index(show[1]), *show[2:4]))
    return [
        {
            "id": number,
            "movie": movie,
            "theatre_name": theatre,
            "date": date,
            "time": time,
            "price": f"{price:.2f}",
            "seats": seats,
        }
        for number, (date, time, theatre, movie, price, seats) in enumerate(shows, start=1)
    ]


def _seats_left(chance: random.Random) -> int:
    """Mostly plenty, sometimes a few, now and then none."""
    kind = chance.random()
    if kind < 0.03:
        return 0
    return chance.randint(1, 4) if kind < 0.12 else chance.randint(8, 120)


def build(url: str = f"sqlite:///{DEFAULT_PATH}", seed: int = DEFAULT_SEED) -> int:
    """Writes the tables anew, in one transaction; bookings are gone afterwards.

    Args:
        url: SQLAlchemy URL of the database.
        seed: of the invented week.

    Returns:
        Number of screenings.
    """
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
    rows = screenings(seed)
    engine = sa.create_engine(parsed, future=True)
    try:
        with engine.begin() as connection:
            METADATA.drop_all(connection)
            METADATA.create_all(connection)
            connection.execute(SCREENINGS.insert(), rows)
    finally:
        engine.dispose()
    return len(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Builds the knowledge base of the movie booking bot."
    )
    parser.add_argument(
        "--url", default=f"sqlite:///{DEFAULT_PATH}", help="database (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="of the invented week (default: %(default)s)"
    )
    arguments = parser.parse_args()
    count = build(arguments.url, arguments.seed)
    where = sa.engine.make_url(arguments.url).render_as_string(hide_password=True)
    print(f"{count} screenings in {where}")


if __name__ == "__main__":
    main()
