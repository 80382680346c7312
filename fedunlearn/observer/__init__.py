"""What an adversary sees of a run: access levels, the tape, and the filtered views that attacks get."""
