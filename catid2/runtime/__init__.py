"""How a job starts, stops, reports and writes. Nothing here decides what a result is."""
