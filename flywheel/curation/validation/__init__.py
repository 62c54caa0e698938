"""A logged call is usable, or refused with a reason; usable ones get the columns that later steps need."""
