"""Train networks; torch lives here and nowhere above."""
