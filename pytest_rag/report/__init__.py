"""Results for people: one summary, and a reporter for each form it is read in."""
